"""Writes tests/ref/eval_ranking.ref: NDCG@k by scikit-learn and MRR, Recall, HitRate by sorting in numpy, on drawn scores without ties.

Run from the project: python tests/ref/eval_ranking_dump.py
"""
import os

import numpy as np
from ref_file import write
from sklearn.metrics import ndcg_score

rng = np.random.default_rng(5)
out = {"cutoffs": np.array([1, 5, 10, 50], np.int32)}
for case, (n, share) in enumerate(((30, 0.1), (200, 0.05), (7, 0.9), (60, 0.4), (1, 1.0), (40, 0.03))):
    score = rng.permutation(n * 3)[:n] / (n * 3.0) - 0.5
    relevant = (rng.random(n) < share).astype(np.uint8)
    relevant[rng.integers(n)] = 1
    order = relevant[np.argsort(-score)]
    first = 1 + int(np.argmax(order))
    rows = []
    for k in out["cutoffs"]:
        top = order[:k]
        ndcg = ndcg_score([relevant], [score], k=int(k)) if n > 1 else 1.0
        rows.append([ndcg, top.sum() / relevant.sum(), 1 / first if first <= k else 0.0, float(top.any())])
    out.update({f"{case}.score": score, f"{case}.relevant": relevant, f"{case}.figures": np.array(rows)})
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "eval_ranking.ref"), out)
