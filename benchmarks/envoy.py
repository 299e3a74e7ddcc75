"""The configuration of an Envoy that does what certgauge does with one API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_TYPES = "type.googleapis.com/envoy.extensions"
_CLUSTER = "origin"


def bootstrap(port: int, upstream: int, client: Path, ca: Path) -> str:
    """All that listens on `port` goes to `upstream`, with the key pair of `client`, over TLS 1.3."""
    return json.dumps(
        {"static_resources": {"listeners": [_listener(port)], "clusters": [_cluster(upstream, client, ca)]}}
    )


def _listener(port: int) -> dict[str, Any]:
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": _CLUSTER}}]
    router = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "listening",
        "route_config": {"virtual_hosts": [{"name": _CLUSTER, "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    return {
        "name": "listening",
        "address": _loopback(port),
        "filter_chains": [{"filters": [{"name": "http_connection_manager", "typed_config": manager}]}],
    }


def _cluster(port: int, client: Path, ca: Path) -> dict[str, Any]:
    tls = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            # As a client Envoy stops at 1.2 unless told.
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(client.with_suffix(".pem"))},
                    "private_key": {"filename": str(client.with_suffix(".key"))},
                }
            ],
            "validation_context": {
                "trusted_ca": {"filename": str(ca)},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "localhost"}}],
            },
        },
    }
    endpoint = {"endpoint": {"address": _loopback(port)}}
    return {
        "name": _CLUSTER,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": _CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {"name": "tls", "typed_config": tls},
    }


def _loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
