"""The certificate of the gateway's port, which may change while it runs."""

import ssl
from pathlib import Path
from typing import Any, Final

import grpc
import structlog

from servicekit.secrets import WatchedFiles
from servicekit.settings import ConfigurationError

_log: Final = structlog.stdlib.get_logger(__name__)


class Certificate:
    """A certificate chain and its private key for one port, in two files that are read again when they change.

    While they cannot be read, or one does not belong to the other, the last good ones stay.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises ConfigurationError if the files cannot be used."""
        self._chain = chain
        self._key = key
        self._files = WatchedFiles(chain, key, read=self._read, unusable=ValueError, failed=self._log_failure)
        try:
            self._present = self._files.first()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE must be a PEM chain and its key ({error})"
            ) from None

    def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials for a server, which asks for the present certificate at each handshake."""
        changed: Any = self._changed  # the stubs do not know None, which leaves the present one
        return grpc.dynamic_ssl_server_credentials(self._present, changed, require_client_authentication=False)

    def context(self) -> ssl.SSLContext:
        """Returns the settings of a server that is not gRPC's, with the present certificate at each handshake."""
        context = _loaded(self._chain, self._key)

        def renew(connection: ssl.SSLObject, *_: object) -> None:
            if self._changed() is not None:
                context.load_cert_chain(self._chain, self._key)
                connection.context = _loaded(self._chain, self._key)

        context.sni_callback = renew
        return context

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns the certificate if it is another one; gRPC calls it in a thread of its own."""
        changed = self._files.changed()
        if changed is not None:
            _log.info("certificate read again")
        return changed

    def _read(self) -> grpc.ServerCertificateConfiguration:
        chain, key = self._chain.read_bytes(), self._key.read_bytes()
        _check(self._chain, self._key)
        return grpc.ssl_server_certificate_configuration([(key, chain)])

    def _log_failure(self, error: Exception) -> None:
        # Texts of these hold a reason of OpenSSL, or a path and the system's word: no secret.
        why = str(error) or type(error).__name__
        _log.warning("certificate not read", file=str(self._chain), key_file=str(self._key), why=why)


def _check(chain: Path, key: Path) -> None:
    """Raises ValueError unless the key belongs to the certificate: gRPC would serve no one, without a word."""
    try:
        _loaded(chain, key)
    except ssl.SSLError as error:
        raise ValueError(error.reason) from None


def _loaded(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context
