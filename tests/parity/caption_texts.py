"""Random captions for comparing tokenisers: COCO-like sentences, and everything that people type."""

import string

WORDS = """a the an man woman dog cat riding on in of with his her street red two three people
standing next to it is are sitting bench Frisbee tennis racket pizza table that has and black white
large small train tracks U.S. Mr. Mrs. Dr. St. Ave. Jr. Sr. Inc. Co. Corp. Ltd. etc. vs. e.g. i.e.
a.m. p.m. A.M. P.M. No. no. Nos. fig. Figs. art. ca. pp. Jan. Feb. Sept. Dec. Mon. Tues. Fri. Calif.
Mass. Wash. Ill. ill. Miss. miss. Del. Tex. La. Pa. Ph.D. Ed.D Capt. Gen. Sgt. Mt. Ft. Bros. Blvd.
Rd. Bldg. est. ext. sq. tel. al. seq. ft. oz. in. lb. cm. Canada-U.S. U.S.-U.K. non-U.S. EU-U.S
cannot gonna gotta wanna lemme gimme 'tis 'twas can't won't don't isn't ain't it's he's I'm you're
they've we'll she'd dogs' man's o'clock ma'am y'all 'em 'cause rock'n'roll 'n' ol' somethin' Dunkin'
Cap'n c'est d'Artagnan O'Brien L'Oreal c'mon s'mores li'l nat'l nor'easter e'er cont'd ev'ry 'til
'till '90s '90 1990's 1980s t-shirt T-shirt co-ed pro-choice anti-war well-to-do ten-year-old 3-D
X-ray mid-air pick-up b&w AT&T R&B Q&A S&P-500 S&Ls C.D.s C++ C# f# a.k.a. Wm. Alex. Pty. PTY. Ltd.
ltd Limited Cos. Plc. Univ. Dept. Mfg. Mtg. Natl. Assoc. About After However The They This When You
if It Mr. Ms. Earlier Once What Yet She About A An As At As ex-wife re-do""".split()

MARKS = """. , ; : ! ? .. ... .... ..... ...... - -- --- ---- ----- ' '' ''' " `` ` ( ) [ ] { } < > << >>
/ \\ * ** *** \\* & && % $ # ## @ @@ _ __ ^ ~ | + = ?! !? !!! :) :( ;-) :D =) :P <3 ^_^ -_- (^.^) (^-^)
x_x >:( =] :o) &amp; &quot; &apos; &lt; &gt; &nbsp; &mdash; &ndash; &#39; &eacute; &HT; . . . – — ― ‘ ’ “
” „ ‚ « » ‹ › … • · ° ½ ¼ ¾ ⅓ ⅔ ⅛ ² ³ ⁴ ₂ £ € ¥ ¢ ¤ § © ® ™ × ÷ ± µ ¿ ¡ · ′ ″ ← → ★ ☺ ♥ ✓ ‐ ‑ ‒ − ⁄ 、 。
，""".split() + [". . .", ". . . .", "\u00ad", "\u00a0", "\u200b", "\u3000", "\ufeff", "\t", "  "]

NUMBERS = """1 2 10 100 3.5 1,000 1,000,000 0.5 .5 -5 +5 5% $5 $5.00 US$5 £5 #1 1st 2nd 3rd 4th 21st 1/2
1/4 1-1/2 24/7 9/11 12/25/2010 12-25-10 1:30 10:45pm 12:05:33 1990-1995 10-15 555-1234
555-555-1234 (555)555-1234 555.555.1234 5'6" 6' 5" 50mm 2x4
1080p 737-800 A380 B-52 N.1 3D 4x4 №5 ①② ١٢٣ १२३ ½ 1½""".split() + [
    "1 1/2", "2 3/4", "10 1/2", "8:30 a.m.", "(555) 555-1234", "(555) 5551234", "+1 555 555 1234",
    "555 555 1234", "No. 5", "nos. 12", "fig. 3", "p. 7",
]

ADDRESSES = """www.example.com http://a.b/c https://x.org/q?a=1&b=2. example.com Example.COM foo.net/bar
someone@example.com <a@b.c> @handle #tag #tag's http://x a.b.c file.jpg image.png. photo.JPG, mp3
readme.txt! www.flickr.com/photos/1 d.html <b> </b> <br/> <a b='c'> <3 a<b""".split() + [
    "<br />", '<a href="x y">', "<!-- c -->", "<!DOCTYPE x>", "< b >", "<a b c = 'd' />",
]

LETTERS = "aAbBcCdDeEfFgGhHiIkKlLmMnNoOpPrRsStTuUvVwWxXyYzZ"
TRICKY = LETTERS + "0123456789" + "..,,--''\"`&;:!?()[]{}<>/\\*@#$%^_+=|~   "
UNICODE = "éèüñçßøåÉÜıİſKΣσςΑωЖяабאבعربيहिन्दी日本語ひカ한글ไทยªº\u0301\u0308\u00ad\u2019\u2018\u201c\u201d\u2026\u2013"


def any_character(rng):
    roll = rng.random()
    if roll < 0.4:
        return rng.choice(UNICODE)
    if roll < 0.8:
        code = rng.randrange(0x20, 0x2C00 if roll < 0.7 else 0x10000)
    else:
        code = rng.choice((rng.randrange(0x1F300, 0x1FAFF), rng.randrange(0x10000, 0x20000)))
    line_break = code in (0x85, 0x2028, 0x2029)
    return " " if line_break or 0xD800 <= code < 0xE000 else chr(code)


def recased(rng, word):
    roll = rng.random()
    if roll < 0.7:
        return word
    return rng.choice((word.lower(), word.upper(), word.capitalize(), word.swapcase()))


def piece(rng):
    roll = rng.random()
    if roll < 0.55:
        return recased(rng, rng.choice(WORDS))
    if roll < 0.70:
        return rng.choice(MARKS)
    if roll < 0.80:
        return rng.choice(NUMBERS)
    if roll < 0.84:
        return recased(rng, rng.choice(ADDRESSES))
    if roll < 0.92:
        return "".join(rng.choice(TRICKY) for _ in range(rng.randint(1, 6)))
    if roll < 0.96:
        return "".join(rng.choice(string.printable[:95]) for _ in range(rng.randint(1, 5)))
    return "".join(any_character(rng) for _ in range(rng.randint(1, 4)))


def plain_caption(rng):
    words = [rng.choice(WORDS[:34]) for _ in range(rng.randint(3, 14))]
    end = rng.choice((".", ".", "", " .", "..", "!", "?", "", ". ", " a."))
    return recased(rng, words[0]) + " " + " ".join(words[1:]) + end


def caption(rng):
    """A caption without a line break."""
    roll = rng.random()
    if roll < 0.3:
        return plain_caption(rng)
    if roll < 0.4:
        return "".join(rng.choice(TRICKY) for _ in range(rng.randint(0, 30)))
    parts = []
    for _ in range(rng.randint(1, 10)):
        parts.append(piece(rng))
        parts.append(" " if rng.random() < 0.75 else "")
    return "".join(parts)


def captions(rng, count):
    return [caption(rng) for _ in range(count)]
