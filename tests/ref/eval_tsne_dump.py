"""Writes eval_tsne.ref: points, scikit-learn's joint probabilities for them (perplexity 15, all neighbours) and the KL that its
exact t-SNE reaches from a PCA start.  Run in tests/ref: python eval_tsne_dump.py (scikit-learn)."""
import numpy as np
from sklearn.manifold import TSNE
from sklearn.manifold._t_sne import _joint_probabilities
from scipy.spatial.distance import pdist, squareform

import ref_file

rng = np.random.default_rng(5)
N, C = 150, 6
centres = 3 * rng.normal(size=(6, C))
x = (centres[rng.integers(0, 6, N)] + rng.normal(size=(N, C))).astype(np.float32)
p = _joint_probabilities(squareform(pdist(x, "sqeuclidean")).astype(np.float32), 15.0, 0)
tsne = TSNE(2, perplexity=15, init="pca", method="exact", random_state=0, learning_rate="auto")
tsne.fit(x.astype(np.float64))
print("KL", tsne.kl_divergence_)
ref_file.write("eval_tsne.ref", {"x": x, "p": np.asarray(p, np.float64), "kl": np.array([tsne.kl_divergence_])})
