"""Options of autoregressive experiments that cannot work: one line, before anything compiles."""

import pytest

REFUSED = {
    "text for pixels": ("pixelcnn --dataset genesis", 2, "text transformer"),
    "text for points": ("flow_matching --dataset genesis", 2, "text transformer"),
    "points for pixels": ("pixelcnn --dataset moons", 2, "'moons' no images"),
    "points for tokens": ("transformer --dataset moons", 2, "'moons' neither"),
    "a density of images": ("made --likelihood gaussian", 2, "'gaussian' 'digits' images"),
    "levels of points": ("made --dataset moons --likelihood categorical", 2, "'moons' points"),
    "unknown law": ("made --likelihood bernouli", 2, "did you mean 'bernoulli'"),
    "unknown network": ("pixelcnn --network.name gate", 2, "did you mean 'gated'"),
    "no labels": ("made --dataset moons --conditional", 2, "'moons' no labels"),
    "no orderings": ("made --orders 0", 2, "orders=0"),
    "heads that do not fit": ("transformer --network.heads 3", 2, "width=128 heads=3"),
    "dropout without": ("pixelcnn --network.dropout 0.1", 2, "dropout=0.1 pixelcnn_pp"),
    "window of one": ("pixelcnn --network.kernel 1", 2, "network.kernel=1"),
    "a text that is not there": ("transformer --dataset text:no.txt", 3, "'no.txt' not exist"),
    "few byte pairs": ("transformer --dataset text:no.txt@9", 2, "VOCABULARY"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(command, name):
    words, code, parts = REFUSED[name]
    ended = command(*words.split(), "--directory", "refused")
    assert ended.code == code, ended.err
    assert ended.err.count("\n") == 1
    assert all(part in ended.err for part in parts.split())
