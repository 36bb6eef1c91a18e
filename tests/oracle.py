"""The papers' equations, one class, layer, image and position at a time: slow, obvious, sharing no code with the rest.

DataDAM (ICCV 2023), equations 1 to 4; ATOM (CVPR-W 2024); DM (WACV 2023); the MMD of Gretton et al. (2012).
Everything is a float64 tensor, so that gradients flow; images and vectors come class-major, as in the package.
"""

import math

import torch
from torch.nn import functional as F

KERNELS = {
    "linear": lambda x, y, sigma: x @ y,
    "polynomial": lambda x, y, sigma: (x @ y / len(x) + 1) ** 3,
    "gaussian": lambda x, y, sigma: (-((x - y) ** 2).sum() / (2 * sigma**2)).exp(),
}


# ---- the network


def draw_weights(shape, classes, width, stream):
    """Weights of a ConvNet-3, layer after layer from one stream: U(-b, b), b = 1 / sqrt(fan in); norms 1 and 0."""

    def uniform(*size, fan_in):
        return torch.empty(*size).uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=stream)

    channels, height, side = shape
    weights = {}
    for i, inputs in enumerate((channels, width, width)):
        weights[f"convs.{i}.weight"] = uniform(width, inputs, 3, 3, fan_in=9 * inputs)
        weights[f"convs.{i}.bias"] = uniform(width, fan_in=9 * inputs)
        weights[f"norms.{i}.weight"], weights[f"norms.{i}.bias"] = torch.ones(width), torch.zeros(width)
    inputs = width * (height // 8) * (side // 8)
    weights["head.weight"] = uniform(classes, inputs, fan_in=inputs)
    weights["head.bias"] = uniform(classes, fan_in=inputs)
    return {name: tensor.double() for name, tensor in weights.items()}


def standardise(x):
    """Subtract the mean, divide by the standard deviation; 1e-5 is added to the variance."""
    mean = x.sum() / x.numel()
    variance = ((x - mean) ** 2).sum() / x.numel()
    return (x - mean) / (variance + 1e-5).sqrt()


def normalise(x, norm):
    """Instance norm: every channel of every image by itself; batch norm: every channel of all images."""
    if norm == "batch":
        return torch.stack([standardise(x[:, c]) for c in range(x.shape[1])], 1)
    return torch.stack([torch.stack([standardise(plane) for plane in image]) for image in x])


def pool(x):
    """The mean of every 2x2 block; an odd last row or column is left out."""
    height, side = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    corners = [x[:, :, i:height:2, j:side:2] for i in (0, 1) for j in (0, 1)]
    return sum(corners) / 4


def forward(weights, images, norm):
    """Return (maps after every ReLU, flattened output of the last pooling) of a ConvNet with these weights."""
    x, maps, block = images, [], 0
    while f"convs.{block}.weight" in weights:
        x = F.conv2d(x, weights[f"convs.{block}.weight"], weights[f"convs.{block}.bias"], padding=1)
        scale, shift = weights[f"norms.{block}.weight"], weights[f"norms.{block}.bias"]
        x = normalise(x, norm) * scale[None, :, None, None] + shift[None, :, None, None]
        x = x * (x > 0)
        maps.append(x)
        x = pool(x)
        block += 1
    return maps, x.flatten(1)


# ---- attention


def power_sum(values, p):
    """Sum of |v|^p; a zero adds nothing, and has no slope."""
    return (values[values != 0].abs() ** p).sum()


def spatial(image, p):
    """ATOM's and DataDAM's map of where: at every position a sum over the channels."""
    _, height, side = image.shape
    return torch.stack([power_sum(image[:, i, j], p) for i in range(height) for j in range(side)])


def channel(image, p):
    """ATOM's vector of which: of every channel a sum over its positions."""
    return torch.stack([power_sum(plane, p) for plane in image])


def feature_map(image, p):
    """All responses, one after the other."""
    return torch.cat([plane.reshape(-1) for plane in image])


ATTENTION = {"spatial": spatial, "channel": channel, "feature_map": feature_map}


def to_length_one(vector, normalisation):
    """Divide by the length, or by the sum of the absolute values, or not at all."""
    length = {"l2": (vector**2).sum() ** 0.5, "l1": vector.abs().sum(), "none": 1}[normalisation]
    return vector / length


# ---- distances


def mean(vectors):
    return sum(vectors) / len(vectors)


def between_means(xs, ys):
    return ((mean(xs) - mean(ys)) ** 2).sum()


def median_distance(points):
    """The median of the distances of all pairs, the smaller of two in the middle; a constant."""
    pairs = [(x - y).norm().item() for i, x in enumerate(points) for y in points[:i]]
    return sorted(pairs)[(len(pairs) - 1) // 2]


def mmd(xs, ys, kernel, unbiased):
    """Mean k(x, x') + mean k(y, y') - 2 mean k(x, y); unbiased: without the pairs of a point and itself."""
    sigma = median_distance([*xs, *ys]) if kernel == "gaussian" else None

    def average(left, right, itself):
        pairs = [(x, y) for i, x in enumerate(left) for j, y in enumerate(right) if itself or i != j]
        return sum(KERNELS[kernel](x, y, sigma) for x, y in pairs) / len(pairs)

    return average(xs, xs, not unbiased) + average(ys, ys, not unbiased) - 2 * average(xs, ys, True)


# ---- the loss


def of_class(k, vectors, classes):
    """The vectors of class k, of equally many for each class."""
    n = len(vectors) // classes
    return [vectors[i] for i in range(k * n, (k + 1) * n)]


def attention_term(name, recipe, maps_real, maps_synthetic, classes):
    """Equation 2 for one attention: over layers and classes, the distance of mean attentions squared."""
    total = 0
    for layer in recipe.layers or range(1, len(maps_real)):
        for k in range(classes):
            means = []
            for maps in (maps_real, maps_synthetic):
                images = of_class(k, maps[layer - 1], classes)
                means.append(mean([to_length_one(ATTENTION[name](f, recipe.power), recipe.normalise) for f in images]))
            total = total + ((means[0] - means[1]) ** 2).sum()
    return total


def embedding_term(recipe, real, synthetic, classes):
    """Equation 3: over the classes, the discrepancy of the embeddings."""
    pairs = [(of_class(k, real, classes), of_class(k, synthetic, classes)) for k in range(classes)]
    if recipe.kernel == "linear" and not recipe.unbiased:
        return sum(between_means(xs, ys) for xs, ys in pairs)
    return sum(mmd(xs, ys, recipe.kernel, recipe.unbiased) for xs, ys in pairs)


def loss(recipe, weights, real, synthetic, classes):
    """Equation 4, by term: factor * (sum of weight * attention term + lambda * embedding term)."""
    maps_real, embedding_real = forward(weights, real.double(), recipe.norm)
    maps_synthetic, embedding_synthetic = forward(weights, synthetic.double(), recipe.norm)
    terms = {}
    for i, name in enumerate(recipe.attention):
        weight = 1 if recipe.attention_weights is None else recipe.attention_weights[i]
        distance = attention_term(name, recipe, maps_real, maps_synthetic, classes)
        terms[name] = recipe.loss_scale * weight * distance
    if recipe.lam:
        distance = embedding_term(recipe, embedding_real, embedding_synthetic, classes)
        terms["embedding"] = recipe.loss_scale * recipe.lam * distance
    return terms
