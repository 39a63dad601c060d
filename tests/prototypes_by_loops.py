"""The background-aware block cell by cell, from its formulas, in double precision."""

import torch


def bilinear(maps, size, *, corners):
    """Interpolate (C, h, w) cell by cell."""
    out = torch.zeros(len(maps), *size, dtype=maps.dtype)
    for y in range(size[0]):
        for x in range(size[1]):
            at = []
            for here, count, old in ((y, size[0], maps.shape[1]), (x, size[1], maps.shape[2])):
                place = here * (old - 1) / max(count - 1, 1) if corners else (here + 0.5) * old / count - 0.5
                place = min(max(place, 0), old - 1)
                at.append((int(place), min(int(place) + 1, old - 1), place - int(place)))
            (top, low, v), (left, right, u) = at
            out[:, y, x] = (1 - v) * ((1 - u) * maps[:, top, left] + u * maps[:, top, right]) + v * (
                (1 - u) * maps[:, low, left] + u * maps[:, low, right]
            )
    return out


def nearest(valid, size):
    """The pixel at the centre of each cell, the later one of two."""
    rows, columns = (
        [int((k + 0.5) * old / new) for k in range(new)] for old, new in zip(valid.shape, size, strict=True)
    )
    return valid[rows][:, columns]


def cosine(a, b):
    return max(float(a @ b / (a.norm() * b.norm())), 0.0) if a.any() and b.any() else 0.0


def by_loops(cam, features, tags, semantic, valid, factor, untagged):
    """One image, from the formulas: maps, seeds, IS-CAM."""
    size = features.shape[1:]
    inside = nearest(valid, size)
    cam = (cam * nearest(valid, cam.shape[1:])).relu()
    if untagged == "absent":
        cam = cam * (tags > 0)[:, None, None]
    m = torch.stack([map_ / (map_.max() + 1e-5) for map_ in cam])
    m = bilinear(torch.cat([1 - m.max(dim=0, keepdim=True).values, m]), size, corners=True) * inside
    allowed = [True, *(tags > 0).tolist()]
    if untagged != "present":
        m = m * torch.tensor(allowed)[:, None, None]
    s = bilinear(semantic * nearest(valid, semantic.shape[1:]), size, corners=False)
    cells = inside.nonzero().tolist()
    seeds, a = torch.zeros_like(m), torch.zeros_like(m)
    for y, x in cells:
        best, winner = -1.0, 0
        for c in range(len(m)):
            both = sum(cosine(s[:, y, x], s[:, v, u]) * m[c, v, u] for v, u in cells)
            either = sum(cosine(s[:, y, x], s[:, v, u]) for v, u in cells) + m[c].sum() - both
            iou = float(both / either) * (factor if c == 0 else 1)
            if iou > best:
                best, winner = iou, c
        if allowed[winner]:
            seeds[winner, y, x] = 1
    for c in range(len(m)):
        total = sum((features[:, y, x] for y, x in seeds[c].nonzero().tolist()), torch.zeros(len(features)))
        for y, x in cells:
            a[c, y, x] = cosine(features[:, y, x], total)
    return m, seeds, a
