"""A small tokenizer in Hugging Face's format: characters, a BOS that it adds, and a chat template."""

import json

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<bos>", "<eos>", "<turn>", "<end>"]
ALPHABET = "".join(map(chr, range(32, 127))) + "\n"
BOS, EOS, TURN, END = 1, 2, 3, 4
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<turn>{{ message['role'] }}\n{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


def write_tokenizer(directory, *, chat_template=TEMPLATE, ends=(END, EOS)):
    """Write the tokenizer, and a generation_config.json with its stop tokens."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", chat_template=chat_template
    )
    fast.save_pretrained(directory)
    if ends is not None:
        (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return directory
