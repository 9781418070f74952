"""How the embedded model is made: read photos, label, train, evaluate, export, compare. Never imported by `app`."""
