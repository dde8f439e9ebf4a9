#!/usr/bin/env python3
"""Compares our ids with those of the public tokenizers, on random text of every script and on real text.

usage: tokenizer_parity.py PROGRAM TOKENIZER_DUMP [--data FOLDER] [--strings N] [--seed S]

Needs `tokenizers` and `tiktoken`; exit 77 and one line "skipped: …" without. FOLDER (default: $TRIDENT_SHARED_DATA)
holds gpt2-bpe/vocab.bpe and encoder.json; without it only the tokenizers that the script trains itself are compared.
TOKENIZER_DUMP answers for many texts at once; a handful also goes through `PROGRAM tokenize --ids` and `--decode`.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

try:
    import tiktoken
    import tokenizers
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
except ImportError as error:
    print(f"skipped: {error} (tests/interop/setup_venv.sh makes what is needed)")
    sys.exit(77)

CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 0x1c, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x180e, 0x2000, 0x2003, 0x200a,
                           0x200b, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff)]
PHRASES = ["'s", "'S", "'re", "'LL", "'ſ", "’s", "'ve", "don't", "\r\n", "\n\n", "   ", "\t", "<|endoftext|>", "fi",
           "e\u0301", "\u1100\u1161\u11a8", "한국어", "नमस्ते", "ﬁ", "Å", "İstanbul", "straße", "ﷺ", "👨‍👩‍👧", "0", "12345",
           "٣٤", "²½", "Ⅷ", "<extra>", "<sw>", " <ls> ", "naïve", "hello", "World", "the", "//", "...", "\u0300"]
RANGES = [(0x20, 0x7e), (0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff),
          (0xe00, 0x11ff), (0x1200, 0x1fff), (0x2000, 0x2bff), (0x3000, 0x33ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3),
          (0xe000, 0xffff), (0x10000, 0x1ffff), (0x1d7ce, 0x1d7ff), (0x1f300, 0x1faff), (0x20000, 0x323af),
          (0xe0000, 0x10ffff)]


def random_text(rng):
    parts = []
    for _ in range(rng.randrange(1, 16)):
        kind = rng.random()
        if kind < 0.25:
            parts.append(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3, 5]))
        elif kind < 0.5:
            parts.append(rng.choice(PHRASES))
        else:
            low, high = rng.choice(RANGES)
            run = [rng.randint(low, high) for _ in range(rng.randrange(1, 6))]
            parts.append("".join(chr(c) for c in run if not 0xd800 <= c <= 0xdfff))
    return "".join(parts)


def settled(text):
    """Without characters younger than this Python's tables: older `tokenizers` do not know their classes either."""
    if tuple(map(int, tokenizers.__version__.split(".")[:2])) >= (0, 21):
        return text
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def ours(program, path, texts):
    frames = bytearray()
    for text in texts:
        data = text.encode("utf-8")
        frames += b"%d\n" % len(data) + data
    done = subprocess.run([program, path], input=bytes(frames), stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().split("\n")[:-1]


def compare(name, program, path, texts, reference, round_trip=True):
    answers = ours(program, path, texts)
    assert len(answers) == len(texts), (name, len(answers), len(texts))
    wrong = lossy = 0
    for text, answer, ids in zip(texts, answers, reference(texts)):
        if answer.endswith("~"):
            lossy += 1
            answer = answer[:-2] if answer.endswith(" ~") else answer
        if answer != " ".join(map(str, ids)):
            wrong += 1
            if wrong <= 3:
                print(f"  {name}: {text!r}\n    ours   {answer}\n    theirs {' '.join(map(str, ids))}")
    print(f"{name}: {len(texts)} texts, {wrong} differ, {lossy} do not come back")
    return wrong == 0 and (lossy == 0 or not round_trip)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


def variants():
    """name, pre-tokenizer, normalizer, whether text comes back."""
    seq = pre_tokenizers.Sequence
    yield "byte-level", byte_level(use_regex=True), None, True
    yield "prefix-space", byte_level(use_regex=True, add_prefix_space=True), None, False
    yield "llama-3", seq([split(CL100K), byte_level()]), None, True
    yield "qwen-2", seq([split(QWEN2), byte_level()]), normalizers.NFC(), False
    yield "o200k", seq([split(O200K), byte_level()]), None, True
    yield "digits", seq([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]), None, True
    yield "falcon", seq([pre_tokenizers.Punctuation("contiguous"), byte_level(use_regex=True),
                         pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")]), None, True
    yield "deepseek", seq([split(r"[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-Ρ]+"),
                           split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"), split(r"[一-龥ࠀ-一가-퟿]+"),
                           pre_tokenizers.Digits(individual_digits=True), byte_level()]), None, True
    yield "deepseek-3", seq([split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"),
                             split(r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?"""
                                   r"""[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""),
                             byte_level()]), None, True
    yield "nfkc", byte_level(use_regex=True), normalizers.Sequence([normalizers.NFKC(), normalizers.NFC()]), False
    yield "nfd", byte_level(use_regex=True), normalizers.NFD(), False
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"{behavior}-{invert}", seq([split(r"\s|[a-e]", behavior, invert), byte_level()]), None, \
                behavior != "removed"
    yield "string", seq([pre_tokenizers.Split(" ", "merged_with_next"), byte_level()]), None, True
    yield "words", seq([split(r"\w+|\W"), split(r"\b."), split(r"^.|.$"), byte_level()]), None, True
    yield "classes", seq([split(r"[\S\n]{2,3}+|[^\w\s]|\p{Han}|(?m:a.b)"), split(r"[\d\p{Lo}]|\P{L}"), byte_level()]), None, True
    yield "empty", seq([split(r"x*", "merged_with_previous"), split(r"(?=[a-m])", "contiguous"), byte_level()]), None, True


def trained(pre_tokenizer, normalizer, texts, added=True, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    if not added:
        return tokenizer
    tokenizer.add_tokens([AddedToken("<extra>", rstrip=True), AddedToken("<sw>", single_word=True),
                          AddedToken("hello"), AddedToken("fi", normalized=True), "e\u0301", "한국어"])
    tokenizer.add_special_tokens([AddedToken("<ls>", lstrip=True, rstrip=True), AddedToken("\u0300", normalized=False)])
    return tokenizer


def compare_trained(program, texts, folder):
    good = True
    for name, pre_tokenizer, normalizer, _ in variants():
        for ignore_merges in (False, True):
            tokenizer = trained(pre_tokenizer, normalizer, texts[:2000], ignore_merges=ignore_merges)
            path = os.path.join(folder, f"{name}.json")
            tokenizer.save(path, pretty=ignore_merges)
            good &= compare(f"{name}{'+ignore_merges' if ignore_merges else ''}", program, path, texts,
                            lambda batch, t=tokenizer: [e.ids for e in t.encode_batch(batch, add_special_tokens=False)],
                            round_trip=False)  # the added tokens strip spaces
    return good


def read_gpt2(data):
    with open(os.path.join(data, "gpt2-bpe", "encoder.json"), encoding="utf-8") as file:
        ids = json.load(file)
    with open(os.path.join(data, "gpt2-bpe", "vocab.bpe"), encoding="utf-8") as file:
        merges = [tuple(line.split(" ")) for line in file.read().split("\n")[1:] if line]
    return ids, merges


def gpt2_references(data):
    ids, merges = read_gpt2(data)
    hugging_face = Tokenizer(models.BPE(ids, merges))
    hugging_face.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield "tokenizers", settled, lambda batch: [e.ids for e in hugging_face.encode_batch(batch)]
    printable = [b for b in range(256) if 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae]
    letters = {chr(b): b for b in printable}
    letters.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)})
    ranks = {bytes(letters[c] for c in token): i for token, i in ids.items() if token != "<|endoftext|>"}
    tik = tiktoken.Encoding("gpt2", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})
    yield "tiktoken", str, lambda batch: [tik.encode_ordinary(text) for text in batch]


def compare_gpt2(program, data, texts):
    good = True
    real = []
    for name in ("tinyshakespeare.txt", "instructions.jsonl"):
        path = os.path.join(data, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                real.append(file.read())
    for name, chosen, reference in gpt2_references(data):
        good &= compare(f"gpt2 against {name}", program, os.path.join(data, "gpt2-bpe"),
                        [chosen(text) for text in texts + real], reference)
    return good


def every_code_point():
    for first in range(0, 0x110000):
        if not 0xd800 <= first <= 0xdfff:
            yield "a" + chr(first) + "1" + chr(first) + " " + chr(first) + "."


NASTY = ["", " ", "\n", "  \n\t ", "--json", "-1", "'", '"quoted"', "[1, 2]", "{}", "%%", "a=b", "eval", "\\", "#",
         "<|endoftext|>", "hello 👋 world 🌍", "I'll  don't\r\n\r\n'S", "ſ's", "\u00a0\u2028\u3000x", "e\u0301 é", "한국어 नमस्ते",
         "0000 123456789 ²½ ٣٤", "\x01\x7f\x1b[0m", "x" * 3000, "\U0010ffff\ufffe"]
BROKEN = [b"\xff", b"a\x80b", b"\xc0\xaf", b"\xe4\xb8", b" \xed\xa0\x80 ", b"\xf4\x90\x80\x80", bytes(range(1, 256))]


def cli(program, *arguments):
    return subprocess.run([program, "tokenize", *arguments], stdout=subprocess.PIPE, check=True).stdout


def compare_cli(name, program, path, reference):
    """One text an invocation: ids as the reference's (of UTF-8) and back to the very bytes (of anything)."""
    wrong = 0
    for data in [text.encode() for text in NASTY] + BROKEN:
        ids = cli(program, "--tokenizer", path, "--ids", data).decode().split()
        back = cli(program, "--tokenizer", path, "--decode", " ".join(ids))
        expected = None if data in BROKEN else list(map(str, reference([data.decode()])[0]))
        if back != data + b"\n" or expected not in (None, ids):
            wrong += 1
            print(f"  {name}: {data!r}\n    ours   {ids}\n    theirs {expected}\n    back   {back!r}")
    print(f"{name}: {len(NASTY) + len(BROKEN)} texts on the command line, {wrong} wrong")
    return wrong == 0


def compare_clis(program, data, texts, folder):
    good = compare_cli("byte", program, "byte", lambda batch: [list(text.encode()) for text in batch])
    if data:
        for name, _, reference in gpt2_references(data):
            good &= compare_cli(f"gpt2 against {name}", program, os.path.join(data, "gpt2-bpe"), reference)
    tokenizer = trained(pre_tokenizers.Sequence([split(CL100K), byte_level()]), None, texts[:2000], added=False)
    path = os.path.join(folder, "tokenizer.json")
    tokenizer.save(path)
    good &= compare_cli("llama-3", program, path,
                        lambda batch: [e.ids for e in tokenizer.encode_batch(batch, add_special_tokens=False)])
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("dump")
    parser.add_argument("--data", default=os.environ.get("TRIDENT_SHARED_DATA", ""))
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--variant-strings", type=int, default=5000)
    parser.add_argument("--code-points", action="store_true", help="also every code point, with GPT-2's vocabulary")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    texts = [random_text(rng) for _ in range(arguments.strings)]
    variant_texts = [settled(text) for text in texts[:arguments.variant_strings]]
    good = True
    if arguments.data:
        good &= compare_gpt2(arguments.dump, arguments.data, texts)
        if arguments.code_points:
            good &= compare_gpt2(arguments.dump, arguments.data, list(every_code_point()))
    else:
        print("no --data: GPT-2's own vocabulary is not compared")
    with tempfile.TemporaryDirectory() as folder:
        good &= compare_trained(arguments.dump, variant_texts, folder)
        good &= compare_clis(arguments.program, arguments.data, variant_texts, folder)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
