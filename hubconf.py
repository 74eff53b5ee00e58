"""`torch.hub.load("path/to/u2net-zoo", "u2netp", weights="u2netp.pth", source="local")`."""

dependencies = ["torch", "numpy", "PIL", "skimage", "filelock"]


def _load(name, weights, outputs):
    from u2net_zoo import arch, load_torch, torch_model

    if weights is None:
        return torch_model.U2Net(getattr(arch, name), outputs)
    model = load_torch(weights, outputs=outputs)
    if model.arch != getattr(arch, name):
        raise ValueError(f"{weights} holds {model.arch.name}, not {name.lower()}")
    return model


def u2net(weights=None, outputs="all"):
    """U²-Net, 44.0 M parameters; `weights`: a .pth or .safetensors file, None for fresh ones."""
    return _load("U2NET", weights, outputs)


def u2netp(weights=None, outputs="all"):
    """U²-Netp, 1.1 M parameters; `weights`: a .pth or .safetensors file, None for fresh ones."""
    return _load("U2NETP", weights, outputs)
