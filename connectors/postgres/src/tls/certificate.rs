//! The parts of a certificate that `rustls` does not give: RFC 5280, in DER.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::digest;
use tokio_rustls::rustls::pki_types::UnixTime;

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version of the certificate, and the hash in the parameters of RSASSA-PSS.
const FIRST_OPTION: u8 = 0xa0;

/// The algorithms of signatures with RSA, 1.2.840.113549.1.1, and with ECDSA, 1.2.840.10045.4; the hashes,
/// 2.16.840.1.101.3.4.2.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
const HASHES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// Parts of a certificate, each with the bytes that say its type and length.
pub(super) struct Certificate<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// The key, with its algorithm.
    pub(super) public_key: &'a [u8],
    validity: &'a [u8],
    /// The algorithm with which the issuer has signed.
    signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate. Returns `None` if it is none.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut whole = content(der, SEQUENCE)?;
        let mut fields = content(next(&mut whole)?, SEQUENCE)?;
        let signature = next(&mut whole)?;
        if fields.first() == Some(&FIRST_OPTION) {
            next(&mut fields)?;
        }
        let (_serial, _signature) = (next(&mut fields)?, next(&mut fields)?);
        let (issuer, validity) = (next(&mut fields)?, next(&mut fields)?);
        let (subject, public_key) = (next(&mut fields)?, next(&mut fields)?);
        Some(Self { issuer, subject, public_key, validity, signature })
    }

    /// Returns from when and until when the certificate is valid.
    pub(super) fn validity(&self) -> Option<(UnixTime, UnixTime)> {
        let mut times = content(self.validity, SEQUENCE)?;
        Some((time(next(&mut times)?)?, time(next(&mut times)?)?))
    }

    /// Returns the hash function of the signature. Some algorithms, such as Ed25519, have none.
    fn hash(&self) -> Option<&'static digest::Algorithm> {
        let mut algorithm = content(self.signature, SEQUENCE)?;
        let name = content(next(&mut algorithm)?, OBJECT)?;
        // By RFC 5929 the weak hashes, MD5 and SHA-1, are replaced by SHA-256.
        match (name.strip_prefix(RSA), name.strip_prefix(ECDSA)) {
            (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(&digest::SHA256),
            (Some([12]), _) | (_, Some([3, 3])) => Some(&digest::SHA384),
            (Some([13]), _) | (_, Some([3, 4])) => Some(&digest::SHA512),
            (Some([10]), _) => hash_of_pss(next(&mut algorithm)?),
            _ => None,
        }
    }
}

/// Returns the hash of a certificate that binds a login to the connection: `tls-server-end-point` of RFC 5929.
pub(super) fn hash(der: &[u8]) -> Option<Vec<u8>> {
    let algorithm = Certificate::parse(der)?.hash()?;
    Some(digest::digest(algorithm, der).as_ref().to_vec())
}

/// Returns the hash function in the parameters of RSASSA-PSS. Without one it is SHA-1, which is replaced.
fn hash_of_pss(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let mut parameters = content(parameters, SEQUENCE)?;
    if parameters.first() != Some(&FIRST_OPTION) {
        return Some(&digest::SHA256);
    }
    let mut algorithm = content(content(next(&mut parameters)?, FIRST_OPTION)?, SEQUENCE)?;
    match content(next(&mut algorithm)?, OBJECT)?.strip_prefix(HASHES)? {
        [1] => Some(&digest::SHA256),
        [2] => Some(&digest::SHA384),
        [3] => Some(&digest::SHA512),
        _ => None,
    }
}

/// Takes the next element, with its type and length, from the front.
fn next<'a>(der: &mut &'a [u8]) -> Option<&'a [u8]> {
    let first = usize::from(*der.get(1)?);
    let (start, length) = match first.checked_sub(0x80) {
        None => (2, first),
        Some(bytes @ 1..=4) => {
            let length =
                der.get(2..2 + bytes)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (2 + bytes, length)
        }
        Some(_) => return None,
    };
    let (element, rest) = der.split_at_checked(start.checked_add(length)?)?;
    *der = rest;
    Some(element)
}

/// Returns what is in an element of this type.
fn content(element: &[u8], of_type: u8) -> Option<&[u8]> {
    let mut rest = element;
    let element = next(&mut rest)?;
    let length_bytes = element.get(1)?.checked_sub(0x80).unwrap_or(0);
    element.get(2 + usize::from(length_bytes)..).filter(|_| element[0] == of_type)
}

/// Reads `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(element: &[u8]) -> Option<UnixTime> {
    let text = content(element, UTC_TIME).or_else(|| content(element, GENERALIZED_TIME))?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    // By RFC 5280 two digits mean a year from 1950 to 2049.
    let text = match (text.len(), text.as_bytes().first()) {
        (12, Some(b'5'..)) => format!("19{text}"),
        (12, _) => format!("20{text}"),
        _ => text.to_owned(),
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    let seconds = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    // A certificate may be valid from before 1970.
    Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let mut params = CertificateParams::new(["h".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2050, 1, 2);
        params.self_signed(&KeyPair::generate_for(algorithm).unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_parts_of_a_certificate_are_found() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let parsed = Certificate::parse(&der).unwrap();
        assert_eq!(parsed.issuer, parsed.subject);
        assert!(content(parsed.public_key, SEQUENCE).is_some());
        let (from, until) = parsed.validity().unwrap();
        assert_eq!((from.as_secs(), until.as_secs()), (946_598_400, 2_524_694_400));
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            assert_eq!(hash(&certificate(algorithm)).map(|hash| hash.len()), length);
        }
    }

    #[test]
    fn the_hash_of_pss_stands_in_its_parameters() {
        let with = |last: u8| {
            let mut der = vec![SEQUENCE, 15, FIRST_OPTION, 13, SEQUENCE, 11, OBJECT, 9];
            der.extend_from_slice(HASHES);
            der.push(last);
            der
        };
        assert_eq!(hash_of_pss(&with(1)), Some(&digest::SHA256));
        assert_eq!(hash_of_pss(&with(3)), Some(&digest::SHA512));
        assert_eq!(hash_of_pss(&[SEQUENCE, 0]), Some(&digest::SHA256));
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).is_none(), "{end} bytes");
        }
        assert!(Certificate::parse(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
    }
}
