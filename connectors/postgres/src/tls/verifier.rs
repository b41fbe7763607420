//! Which certificates of a server are accepted.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::TlsError;
use super::certificate::Certificate;

/// Verifies the chain of a certificate, and its name, as far as the mode asks for it. That the server has the key of the
/// certificate is verified always.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` accepts any certificate.
    chain: Option<Chain>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Chain {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    /// Whether the certificate must be for the host.
    names: bool,
}

impl Verifier {
    /// Returns the verifier by the certificates of authorities; `None` accepts any certificate.
    pub(super) fn new(
        roots: Option<Vec<CertificateDer<'static>>>,
        names: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain = |roots: Vec<CertificateDer<'static>>| {
            let mut store = RootCertStore::empty();
            // The system has roots that nobody can use any more.
            store.add_parsable_certificates(roots.iter().cloned());
            let webpki =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
            let webpki = webpki.map_err(|error| {
                TlsError::File(format!("the certificates of sslrootcert cannot be used: {error}"))
            })?;
            Ok(Chain { webpki, roots, names })
        };
        let chain = roots.map(chain).transpose()?;
        Ok(Self { chain, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if chain.is_root(certificate) {
            return chain.verify_root(certificate, name, now);
        }
        let verified = chain.webpki.verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match verified {
            // The name is verified last: all else holds.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !chain.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // `webpki` reads no certificates of version 1, which `openssl x509 -req` makes. Where any certificate is
        // accepted, its key is all that counts.
        match Certificate::parse(certificate).filter(|_| self.chain.is_none()) {
            Some(parsed) => {
                let key = SubjectPublicKeyInfoDer::from(parsed.public_key);
                verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
            }
            None => verify_tls13_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Chain {
    /// Returns whether the server's certificate is itself a root: one that signed itself, as the first example of
    /// Postgres's manual makes it. `webpki` takes no authority's certificate for a server's.
    fn is_root(&self, certificate: &CertificateDer<'_>) -> bool {
        self.roots.iter().any(|root| root.as_ref() == certificate.as_ref())
            && Certificate::parse(certificate).is_some_and(|parsed| parsed.issuer == parsed.subject)
    }

    /// Verifies what is left to verify of a root: its dates and its name.
    fn verify_root(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = Certificate::parse(certificate).ok_or(CertificateError::BadEncoding)?;
        let (from, until) = parsed.validity().ok_or(CertificateError::BadEncoding)?;
        if now < from {
            return Err(CertificateError::NotValidYetContext { time: now, not_before: from }.into());
        }
        if now > until {
            return Err(CertificateError::ExpiredContext { time: now, not_after: until }.into());
        }
        if self.names {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}
