"""Writes tests/ref/eval_metrics.ref: AUC, logloss and UAUC by scikit-learn on drawn rows with ties, and percentiles by numpy.

Run from the project: python tests/ref/eval_metrics_dump.py
"""
import os

import numpy as np
from ref_file import write
from sklearn.metrics import log_loss, roc_auc_score

rng = np.random.default_rng(3)
out = {}
for name, n, users, levels in (("ties", 700, 60, 9), ("fine", 500, 40, 10**7), ("few", 12, 3, 3)):
    user = rng.integers(-5, users - 5, n).astype(np.int32)
    label = (rng.random(n) < 0.4).astype(np.uint8)
    score = np.round(rng.random(n) * levels + 0.4 * label) / (levels + 1)
    subset = (rng.random(n) < 0.5).astype(np.uint8)
    out.update({f"{name}.user": user, f"{name}.label": label, f"{name}.score": score, f"{name}.mask": subset})
    for part, keep in (("all", np.ones(n, bool)), ("subset", subset == 1)):
        u, y, s = user[keep], label[keep], score[keep]
        each, skipped = [], 0
        for one in np.unique(u):
            rows = u == one
            if rows.sum() < 2 or len(np.unique(y[rows])) < 2:
                skipped += 1
            else:
                each.append(roc_auc_score(y[rows], s[rows]))
        p = np.clip(s, 1e-15, 1 - 1e-15)
        out[f"{name}.{part}"] = np.array([len(y), roc_auc_score(y, s), np.mean(each), len(each), skipped, log_loss(y, p, labels=[0, 1])])
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "eval_metrics.ref"), out)
