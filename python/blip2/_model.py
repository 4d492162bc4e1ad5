import collections
import json
import time
from typing import NamedTuple

from . import _native
from ._images import encoded, is_one

# transformers' names of options that have another one here
_ALIASES = {"num_beams": "beams", "do_sample": "sample", "num_return_sequences": "return_sequences"}


class Text(str):
    """A text that a model wrote: a str with more to say.

    tokens: ids as they were written, the end token included. score: of beam search or of the tokens, in nats. cut: whether
    it stopped only because it had max_new_tokens. others: further texts, best first, if more than one was asked for.
    """

    def __new__(cls, text, tokens=(), score=0.0, cut=False, others=()):
        made = super().__new__(cls, text)
        made.tokens, made.score, made.cut, made.others = list(tokens), score, cut, list(others)
        return made

    def __getnewargs__(self):
        return str(self), self.tokens, self.score, self.cut, self.others


class Match(NamedTuple):
    """How a picture fits a text. itc: cosine of the picture's best vector; itm: probability of a match."""

    itc: float
    itm: float


def _text_of(result):
    first, *others = (Text(one["text"], one["tokens"], one["score"], one["cut"]) for one in result["texts"])
    first.others = others
    return first


class Model:
    """A model directory, loaded: it captions pictures, answers questions, scores and embeds.

    Methods may be called by several threads at once; their work then runs side by side in one batch. They give
    Python's lock back while the model computes. An answer does not depend on what runs beside it.
    """

    def __init__(self, model, *, precision="auto", threads=0, chat_template=False, max_batch=32, max_queue=256,
                 cache_bytes=256 << 20, picture_threads=2):
        """Like from_pretrained()."""
        self._native = _native.Model(str(model), precision, chat_template, max_batch, max_queue, cache_bytes,
                                     picture_threads, threads)
        self._ahead = max_queue

    @classmethod
    def from_pretrained(cls, model, **options):
        """Loads a model directory.

        model: its path, or a model in the Hugging Face cache of this machine ("organisation/name[@revision]"; nothing is
        fetched). precision: "auto" (as stored), "f32", "bf16" or "f16". threads: those that compute, 0 for all; counts
        for the whole process. chat_template: write prompts by the language model's chat template. max_batch: texts
        written side by side. max_queue: jobs that may wait. cache_bytes: for the features of pictures seen before.
        Raises Error, which names file and place.
        """
        return cls(model, **options)

    @property
    def facts(self):
        """What the model is: a dict with its folder, picture size, prompts, widths and types."""
        return self._native.facts()

    def caption(self, images, prompt=None, *, stream=False, stop=(), **options):
        """A text about each picture.

        images: a picture or a list of pictures; each is a path, the bytes of a file, a PIL picture, or an array
        [H, W, 3] or [3, H, W] of bytes or of numbers from 0 to 1 (numpy, torch, anything with DLPack). prompt: how the
        text begins; None: the model's own. options: max_new_tokens, beams (num_beams), sample (do_sample), temperature,
        top_p, seed and the other options of `blip2 caption --help`, over the model's generation_config.json. stop: texts before
        which an answer ends. Returns a Text, or a list; with stream=True an iterator over pieces of one picture's
        text as they are written (pass beams=1: beams give their text at the end).
        """
        made = self._native.caption_prompt(prompt)
        return self._write(images, lambda _: made, _native.TextTask.caption, stream, stop, options)

    def answer(self, images, question, *, template=None, stream=False, stop=(), **options):
        """An answer about each picture.

        question: one for all pictures, or a list with one for each. template: with {} for the question; None: the
        model's own. The rest as caption().
        """
        questions = [question] if isinstance(question, str) else list(question)
        one = is_one(images)
        pictures = [images] if one else images
        if len(questions) not in (1, len(pictures)):
            raise ValueError(f"expected one question, or one for each of {len(pictures)} pictures, got {len(questions)}")
        made = [self._native.question_prompt(text, template) for text in questions]
        pick = (lambda _: made[0]) if len(made) == 1 else made.__getitem__
        return self._write(images, pick, _native.TextTask.answer, stream, stop, options)

    def chat(self, image, **options):
        """A Chat about one picture, with these options for all its answers."""
        return Chat(self, image, options)

    def match(self, images, texts):
        """How pictures fit texts.

        Returns a Match for one picture and one text; a list for several of either; for several pictures and several
        texts a list for each picture with one Match for each text.
        """
        pictures = [encoded(image) for image in ([images] if is_one(images) else images)]
        wanted = [texts] if isinstance(texts, str) else list(texts)
        rows = [[Match(*pair) for pair in row] for row in self._native.score(pictures, wanted)]
        if isinstance(texts, str):
            rows = [row[0] for row in rows]
        return rows[0] if is_one(images) else rows

    def embed_images(self, images):
        """Unit vectors of pictures: an array [N, Q, E] of float32, or [Q, E] for one picture.

        A picture's similarity to a text is the largest of the Q cosines.
        """
        pictures = [encoded(image) for image in ([images] if is_one(images) else images)]
        vectors = self._native.embed(pictures, [])[0]
        return vectors[0] if is_one(images) else vectors

    def embed_texts(self, texts):
        """Unit vectors of texts: an array [N, E] of float32, or [E] for one text."""
        vectors = self._native.embed([], [texts] if isinstance(texts, str) else list(texts))[1]
        return vectors[0] if isinstance(texts, str) else vectors

    def close(self):
        """Ends what runs and frees the model. Done at the end of a `with` block, too."""
        self._native.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _write(self, images, prompt_of, task, stream, stop, options):
        stop = [stop] if isinstance(stop, str) else list(stop)
        given = json.dumps({_ALIASES.get(name, name): value for name, value in options.items()})
        if stream:
            if not is_one(images):
                raise ValueError("expected one picture to stream a text about, got a list")
            return iter(self._start(images, prompt_of(0), task, given, stop))
        if is_one(images):
            return _text_of(self._start(images, prompt_of(0), task, given, stop).result())
        return self._write_all(images, prompt_of, task, given, stop)

    def _write_all(self, images, prompt_of, task, given, stop):
        running, texts = collections.deque(), []
        for i, image in enumerate(images):
            if len(running) >= self._ahead // 2:
                texts.append(_text_of(running.popleft().result()))
            running.append(self._start(image, prompt_of(i), task, given, stop))
        return texts + [_text_of(writing.result()) for writing in running]

    def _start(self, image, prompt, task, given, stop):
        picture = encoded(image)
        while (writing := self._native.write(picture, prompt, task, given, stop)) is None:
            time.sleep(0.01)  # other threads have filled the queue
        return writing


class Chat:
    """A dialogue about one picture, which keeps what was said in `turns`: pairs of role and text."""

    def __init__(self, model, image, options):
        self._model, self._image, self._options = model, encoded(image)[0], options
        self.turns = []

    def ask(self, question, **options):
        """The answer, a Text. options: over those of the chat."""
        text = self._model._write(self._image, lambda _: self._prompt(question), _native.TextTask.chat, False, (),
                                  {**self._options, **options})
        self.turns += [("user", question), ("assistant", str(text))]
        return text

    def stream(self, question, **options):
        """The answer in pieces, as it is written; it becomes a turn once it has been read to its end."""
        pieces = []
        for piece in self._model._write(self._image, lambda _: self._prompt(question), _native.TextTask.chat, True, (),
                                        {**self._options, **options}):
            pieces.append(piece)
            yield piece
        self.turns += [("user", question), ("assistant", "".join(pieces))]

    def _prompt(self, question):
        return self._model._native.chat_prompt([*self.turns, ("user", question)])
