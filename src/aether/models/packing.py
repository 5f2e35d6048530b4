"""Reading packed tokens: documents in a shuffled, endless, exactly resumable stream cut into windows. numpy only, no torch.

The files are those that the data stage writes: `tokens.bin` (each document is [0] and its token ids, one after another)
and `documents.jsonl`. Sample `i` is tokens [i*T, i*T + T] of the stream epoch 0, epoch 1, ..., each epoch all documents
in its own order; so each token is an input once and a target once per epoch, nothing is padded, nothing dropped.
Neighbouring windows share one token, the last target of one and the first input of the next. Does not write
tokens (that is the data stage) and does not batch onto a device.

Legend: D documents, T context tokens, B samples.
"""

from pathlib import Path

import numpy as np

from aether.models.corpus import Document, read_documents
from aether.spec.errors import DamagedRecord, InputError


def mix64(x: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that scatters near values: the finaliser of splitmix64 (Steele et al., OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class PackedTokens:
    """A split's tokens as windows of `context_tokens` + 1, shuffled by (seed, epoch); memory is 16 bytes per document.

    Raises InputError for a split without tokens and DamagedRecord when the two files do not fit together.
    """

    def __init__(self, folder: Path, context_tokens: int, seed: int = 0) -> None:
        assert context_tokens > 0 and seed >= 0
        self.folder, self.context_tokens, self.seed = Path(folder), context_tokens, seed
        spans = [(document.start, document.tokens) for document in read_documents(self.folder)]
        self._start_D = np.array([s for s, _ in spans], np.int64)
        self._count_D = np.array([c for _, c in spans], np.int64)
        self.tokens = int(self._count_D.sum())
        if not self.tokens:
            raise InputError.of("data", str(self.folder), "this split has no document; give it more text")
        self._memmap = self._map()
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def _map(self) -> np.ndarray:
        path = self.folder / "tokens.bin"
        size_bytes = path.stat().st_size
        width = size_bytes // self.tokens
        if size_bytes != width * self.tokens or width not in (2, 4):
            raise DamagedRecord(
                f"{path} has {size_bytes} bytes, not 2 or 4 for each of the {self.tokens} tokens in documents.jsonl: "
                "delete the step's folder and build again",
                path=str(path),
            )
        return np.memmap(path, dtype="<u2" if width == 2 else "<u4", mode="r")

    @property
    def documents_count(self) -> int:
        """Documents in the split."""
        return self._count_D.size

    @property
    def samples_per_epoch(self) -> float:
        """Samples that use each token once; not whole, as the stream runs on from one epoch into the next."""
        return self.tokens / self.context_tokens

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(document order [D], first stream position of each within the epoch [D]); the last two epochs are kept."""
        if epoch not in self._epochs:
            key = np.array([self.seed], np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(epoch)
            keys_D = mix64(mix64(key) + np.arange(self._count_D.size, dtype=np.uint64))
            order_D = np.argsort(keys_D, kind="stable")
            count_D = self._count_D[order_D]
            self._epochs = {e: v for e, v in self._epochs.items() if e == epoch - 1 or e == epoch + 1}
            self._epochs[epoch] = (order_D, np.cumsum(count_D) - count_D)
        return self._epochs[epoch]

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `index` >= 0 of the endless stream: (tokens int64 [T + 1], document_ids int64 [T + 1]).

        A document id is its place in the stream, so it rises along the window and differs between neighbours.
        """
        assert index >= 0
        wanted = self.context_tokens + 1
        tokens, ids = np.empty(wanted, np.int64), np.empty(wanted, np.int64)
        epoch, position = divmod(index * self.context_tokens, self.tokens)
        filled = 0
        while filled < wanted:
            order_D, first_D = self._epoch(epoch)
            rank = int(np.searchsorted(first_D, position, side="right")) - 1
            while filled < wanted and rank < order_D.size:
                document = order_D[rank]
                skip = position - int(first_D[rank])
                take = min(wanted - filled, int(self._count_D[document]) - skip)
                start = int(self._start_D[document]) + skip
                tokens[filled : filled + take] = self._memmap[start : start + take]
                ids[filled : filled + take] = epoch * order_D.size + rank
                filled, position, rank = filled + take, position + take, rank + 1
            epoch, position = epoch + 1, 0
        return tokens, ids

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`, in order. Reads the list of documents again: not for every step."""
        places = [divmod(int(one), self.documents_count) for one in dict.fromkeys(self.sample(index)[1].tolist())]
        rows = [int(self._epoch(epoch)[0][rank]) for epoch, rank in places]
        wanted = set(rows)
        found = {row: document for row, document in enumerate(read_documents(self.folder)) if row in wanted}
        return tuple(found[row] for row in rows)

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples `first` .. `first + count - 1`: (tokens int64 [B, T + 1], document_ids int64 [B, T + 1])."""
        samples = [self.sample(index) for index in range(first, first + count)]
        return np.stack([t for t, _ in samples]), np.stack([i for _, i in samples])
