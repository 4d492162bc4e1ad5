"""How the demo's titles and keywords become captions: the same rules for emoji and clip art."""

import re

# CLDR's keywords and Debian's folders say these of too many pictures, or of the file alone.
EMPTY_WORDS = frozenset(
    "hash icon icons theme unsorted special clip art clipart sign symbol signs and symbols symbols "
    "shape shapes geometry magick menu action application stock webpage desktop work svg png image "
    "drawing cartoon other misc various general graphic graphics png simple".split())


def plain(text):
    """Lower case, without brackets, marks and what only files say; words a blank apart."""
    text = re.sub(r"\([^)]*\)", " ", text.lower())
    text = text.replace("’", "'").replace("&", " and ")
    return " ".join(re.findall(r"[^\W_]+(?:[-'][^\W_]+)*", text))


def unique(texts):
    """The texts that are not empty, each once, in their order."""
    return list(dict.fromkeys(text for text in texts if text))


def captions(title, keywords, kind):
    """What may be said of a picture: its title, and the title with its kind or a keyword.

    `kind` is a broad word ("animal"), or empty. Each step draws one of the captions anew.
    """
    said = set(title.split())
    more = [word for word in unique([kind, *keywords]) if not set(word.split()) & said]
    return unique([title, *(f"{title}, {word}" for word in more[:1])])
