"""Training of the embedded model: read photos, label, train, evaluate, export, compare. Never imported by `app`."""
