"""The networks of gen_jax.nets written the way a PyTorch user would, for the speed comparison only.

Same layers, same number of parameters, same activations; built for one image size, as PyTorch
modules are.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Condition(nn.Module):
    def __init__(self, width):
        super().__init__()
        steps = torch.linspace(0, math.log(64.0), width // 2)
        self.register_buffer("frequencies", steps.exp())
        self.noise_in, self.noise_out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, noise):
        angle = noise[:, None] * self.frequencies
        h = torch.cat([angle.cos(), angle.sin()], -1)
        return F.silu(self.noise_out(F.silu(self.noise_in(h))))


class MLP(nn.Module):
    def __init__(self, features, size):
        super().__init__()
        width = features[0]
        self.condition, self.inp = Condition(width), nn.Linear(size, width)
        self.modulation = nn.ModuleList(nn.Linear(width, 2 * f) for f in features)
        self.first = nn.ModuleList(nn.Linear(f, f) for f in features)
        self.second = nn.ModuleList(nn.Linear(f, f) for f in features)
        self.out = nn.Linear(width, size)

    def forward(self, x, noise):
        condition, h = self.condition(noise), self.inp(x.flatten(1))
        for modulation, first, second in zip(self.modulation, self.first, self.second, strict=True):
            scale, shift = modulation(condition).chunk(2, -1)
            h = h + second(F.silu(first(F.silu(h)) * (1 + scale) + shift))
        return self.out(F.silu(h)).view_as(x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, d = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(*qkv)
        return self.out(h.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention, self.modulation = Attention(width, heads), nn.Linear(width, 6 * width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, condition):
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(condition)[
            :, None
        ].chunk(6, -1)
        norm = lambda x: F.layer_norm(x, x.shape[-1:], eps=1e-6)
        x = x + gate_1 * self.attention(norm(x) * (1 + scale_1) + shift_1)
        h = F.gelu(self.up(norm(x) * (1 + scale_2) + shift_2), approximate="tanh")
        return x + gate_2 * self.down(h)


class DiT(nn.Module):
    def __init__(self, patch, width, depth, heads, size, channels):
        super().__init__()
        self.patch, self.grid, pixels = patch, size // patch, patch * patch * channels
        self.condition, self.inp = Condition(width), nn.Linear(pixels, width)
        self.register_buffer("position", torch.randn(self.grid**2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.modulation, self.out = nn.Linear(width, 2 * width), nn.Linear(width, pixels)

    def forward(self, x, noise):
        condition, (b, c, _, _) = self.condition(noise), x.shape
        g, p = self.grid, self.patch
        h = x.view(b, c, g, p, g, p).permute(0, 2, 4, 3, 5, 1).reshape(b, g * g, p * p * c)
        h = self.inp(h) + self.position
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        h = self.out(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        return h.view(b, g, g, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, g * p, g * p)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, width, condition, joined=False):
        super().__init__()
        groups = 2 * math.gcd(8, inputs // 2) if joined else math.gcd(8, inputs)
        self.norm_1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.norm_2 = nn.GroupNorm(math.gcd(8, width), width, eps=1e-6, affine=False)
        self.conv_1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * width)
        same = inputs == width
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, width, 1, bias=False)

    def forward(self, x, condition):
        h = self.conv_1(F.silu(self.norm_1(x)))
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, 1)
        h = F.silu(self.norm_2(h) * (1 + scale) + shift)
        return self.skip(x) + self.conv_2(h)


class AttentionBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(8, width), width, eps=1e-6)
        self.attention = Attention(width, width // 32 if width % 32 == 0 else 1)

    def forward(self, x):
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(tokens).transpose(1, 2).view_as(x)


class UNet(nn.Module):
    def __init__(self, widths, blocks, channels):
        super().__init__()
        wide = 4 * widths[0]
        self.condition = Condition(wide)
        self.inp = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down, self.up, width, skips = nn.ModuleList(), nn.ModuleList(), widths[0], []
        for level, w in enumerate(widths):
            merge = nn.Conv2d(width, w, 2, stride=2) if level else nn.Identity()
            width = w
            skips += [w] * blocks
            stage = [ResidualBlock(w, w, wide) for _ in range(blocks)]
            self.down.append(nn.ModuleList([merge, *stage]))
        self.middle_1, self.middle_2 = (ResidualBlock(width, width, wide) for _ in range(2))
        self.attention = AttentionBlock(width)
        for level, w in reversed(list(enumerate(widths))):
            stage = [ResidualBlock(w + skips.pop(), w, wide, joined=True) for _ in range(blocks)]
            last = nn.Conv2d(w, widths[level - 1], 1) if level else nn.Identity()
            self.up.append(nn.ModuleList([*stage, last]))
        self.norm = nn.GroupNorm(math.gcd(8, widths[0]), widths[0], eps=1e-6)
        self.out = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, x, noise):
        condition, h, skips = self.condition(noise), self.inp(x), []
        for merge, *stage in self.down:
            h = merge(h)
            for block in stage:
                h = block(h, condition)
                skips.append(h)
        h = self.middle_2(self.attention(self.middle_1(h, condition)), condition)
        for i, (*stage, last) in enumerate(self.up):
            for block in stage:
                h = block(torch.cat([h, skips.pop()], 1), condition)
            h = last(h)
            if i + 1 < len(self.up):
                h = F.interpolate(h, scale_factor=2, mode="nearest")
        return self.out(F.silu(self.norm(h)))


class Trainer:
    """Velocity loss, fused Adam and an exponential moving average; `step(images)` is one update."""

    def __init__(self, network, device, bfloat16=False):
        self.network = network.to(device, memory_format=torch.channels_last)
        parameters = list(network.parameters())
        self.parameters, self.ema = parameters, [p.detach().clone() for p in parameters]
        self.optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
        self.device, self.bfloat16 = device, bfloat16
        self.loss = torch.compile(self._loss) if device == "cuda" else self._loss

    def _loss(self, images):
        t = torch.rand(len(images), device=images.device).clamp(1e-3, 1 - 1e-3)
        eps, w = torch.randn_like(images), t[:, None, None, None]
        noise = torch.log(t / (1 - t)) / 4
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            predicted = self.network((1 - w) * images + w * eps, noise)
        return F.mse_loss(predicted.float(), eps - images)

    def step(self, images):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(images)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, self.parameters, 1e-3)
        return loss
