"""What a status endpoint answers."""

import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

PATIENCE_SECONDS = 60


def get(place: str, path: str, accept: str = "") -> tuple[int, str, str]:
    """Return status, media type and text of an answer; `place` is host and port."""
    request = urllib.request.Request(f"http://{place}{path}", headers={"Accept": accept} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


def samples(text: str) -> dict[str, float]:
    """Return the samples of an exposition, such as `antiphon_resumes_total continued`."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figures(place: str) -> dict[str, float]:
    """Return the samples that an endpoint shows."""
    status, _, text = get(place, "/metrics")
    assert status == 200
    return samples(text)
