"""Instructions as hashed words."""

import torch

from worldmodel.text import TextConfig, TextEmbedding, tokenize

CONFIG = TextConfig(words=4, vocabulary=8192, width=8)


def test_words_have_numbers_that_never_change() -> None:
    ids = tokenize(["Open top drawer.", "open  TOP drawer"], CONFIG).ids
    assert torch.equal(ids[0], ids[1])
    assert ids[0].tolist() == [1874, 5787, 1721, 0]


def test_order_counts_and_long_instructions_are_cut() -> None:
    ids = tokenize(["a b c d e", "a b c d", "b a c d"], CONFIG).ids
    assert torch.equal(ids[0], ids[1])
    assert not torch.equal(ids[1], ids[2])


def test_the_words_of_the_tasks_do_not_collide() -> None:
    words = "pick coke can move near place apple into open close top middle bottom drawer orange"
    ids = {tokenize([word], CONFIG).ids[0, 0].item() for word in words.split()}
    assert len(ids) == len(words.split())


def test_embedding_has_one_token_a_word() -> None:
    embedded = TextEmbedding(CONFIG, 16)(tokenize(["open drawer"], CONFIG))
    assert embedded.shape == (1, 4, 16)
