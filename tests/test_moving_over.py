"""Rules and boards of other exporters go on working with `compat_metrics`: their queries, against a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.authority import DAY
from tests.process import ask, demanding, run, upstream
from tests.prometheus import Prometheus, prometheus
from tests.telemetry.kit import Site

# The panels of the board 13922, with its variables at their defaults, less those about Kubernetes' secrets: here are
# files. enix/x509-certificate-exporter, chart/grafana-dashboards/x509-certificate-exporter.json, commit 69b3a39.
BOARD_13922 = {
    "Total Certificates": "count(x509_cert_not_after)",
    "Expired": "sum(((x509_cert_not_after - time()) / 86400) < bool 0)",
    "Expiring within 7 days": "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 7)",
    "Expiring within 28 days": "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 28)",
    "Media": 'count(x509_cert_not_after{filepath!="",embedded_key=""})',
    "Exporters": "count(x509_read_errors)",
    "Exporter Errors": "sum(x509_read_errors)",
    "Host Files": 'sort(((x509_cert_not_after{filepath!=""} - time()) / 86400) < 180)',
    "Top Issuers": "topk(10, sort_desc(count by (issuer_CN) (x509_cert_not_after)))",
    "Top Instances": 'topk(10, sort_desc(count by (instance) (x509_cert_not_after{filepath!=""})))',
    "Shortest Validity Period": 'bottomk(10, (x509_cert_not_after{filepath!=""} - x509_cert_not_before) / 86400)',
    "Longest Validity Period": 'topk(10, (x509_cert_not_after{filepath!=""} - x509_cert_not_before) / 86400)',
    "Exporters with Errors": "sum (x509_read_errors > bool 0)",
    "Error Rate": "sum(rate(x509_read_errors[15m]))",
    "Top Exporters by Error Rate": "topk(10, rate(x509_read_errors[6h]))",
    "Top Exporters by Cumulative Errors": "topk(10, x509_read_errors)",
}
# Of the charts' prometheusrule.yaml (52e9c2e, 0a9f533), ssl_exporter's README (02d6183), and, for the probes,
# samber/awesome-prometheus-alerts (1e4e3d1, 549dd01).
ALERTS = {
    "X509 CertificateRenewal": "((x509_cert_not_after - time()) / 86400) < 28",
    "X509 CertificateExpiration": "(x509_cert_not_after - time()) < (14 * 86400)",
    "X509 CertificateError": "x509_cert_error > 0",
    "X509 read errors": "x509_read_errors > 0",
    "ssl_exporter, presented": "ssl_cert_not_after - time() < 86400 * 7",
    "ssl_exporter, file": "ssl_file_cert_not_after - time() < 86400 * 7",
    "ssl_exporter, verified": 'ssl_verified_cert_not_after{chain_no="0"} - time() < 86400 * 7',
    "Blackbox, 20 days": "3 <= round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 20",
    "tlscheck": "min by (tlscheck_x509_cn) (tlscheck_time_left_seconds) < 604800",
}
QUIET = {
    "ssl_exporter, probe": "ssl_probe_success == 0",
    "Blackbox, probe": "probe_success == 0",
    "Blackbox, 3 days": "0 <= round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 3",
    "Blackbox, expired": "round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 0",
    "X509 NotYetValid": "(x509_cert_not_before - time()) > 0",
    "X509 SourceDown": "x509_source_up == 0",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes a gateway that has called an upstream whose certificate, and its own, have five days to go."""
    directory = tmp_path_factory.mktemp("moving")
    site = Site(directory)
    tls = demanding(directory, site.authority)
    certificate, key = site.authority.issue("localhost", 5 * DAY).write(directory, "upstream")
    tls.load_cert_chain(directory / certificate, directory / key)
    (directory / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    site.certificate("orders", 5 * DAY)
    site.anchors("ca", site.authority.root.pem)
    site.document |= {
        "compat_metrics": ["x509", "ssl", "probe", "tlscheck"],
        "certificate_expiry_monitor": {"flush_interval_seconds": 1},
        "watch": ["broken.pem"],
    }
    with upstream(tls) as port:
        site.api("orders", f"https://localhost:{port}/", upstream_certificates={"*": "orders"}, upstream_ca="ca")
        with (
            run(site.write()) as process,
            prometheus(directory, process.admin_url.removeprefix("http://")) as scraping,
        ):
            assert ask("GET", process.proxy_url + "/orders/").status == 200
            # The upstream sends its root along.
            scraping.wait("ssl_cert_not_after", series=2, seconds=20)
            # A rate is of two scrapes.
            scraping.wait("rate(x509_read_errors[1m])", series=1, seconds=20)
            yield scraping


@pytest.mark.parametrize("panel", BOARD_13922)
def test_the_published_board_has_something_in_every_panel_about_files(server: Prometheus, panel: str) -> None:
    assert server.query(BOARD_13922[panel])


@pytest.mark.parametrize("alert", ALERTS)
def test_a_documented_alert_fires_for_what_is_wrong(server: Prometheus, alert: str) -> None:
    assert server.query(ALERTS[alert])


@pytest.mark.parametrize("alert", QUIET)
def test_a_documented_alert_is_quiet_about_what_is_fine(server: Prometheus, alert: str) -> None:
    assert server.query(QUIET[alert]) == []
    assert server.query(QUIET[alert].replace("3 <=", "").split(" > ")[0].split(" < ")[0].split(" == ")[0])


def test_dates_are_those_of_our_own_metrics(server: Prometheus) -> None:
    [ours] = server.query('certificate_not_after_timestamp_seconds{cert_role="upstream"}')
    [theirs] = server.query('x509_cert_not_after{filename="orders.pem"}')
    assert ours["value"][1] == theirs["value"][1]
