"""blip2/base/random.h in Python: what a step draws is a function of the seed and the step."""

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def scatter(x):
    x = (x + GOLDEN) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def derive_seed(seed, *parts):
    for part in parts:
        seed = scatter(seed ^ scatter(part))
    return seed


class Random:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        value = scatter(self.state)
        self.state = (self.state + GOLDEN) & WORD
        return value

    def uniform(self):
        return (self.next() >> 11) * 2.0**-53

    def below(self, n):
        while True:
            product = self.next() * n
            if product & WORD >= -n % (1 << 64) % n:
                return product >> 64

    def shuffle(self, items):
        for i in range(len(items), 1, -1):
            j = self.below(i)
            items[i - 1], items[j] = items[j], items[i - 1]
