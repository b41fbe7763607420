//! Who asks, and what they may.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use subtle::ConstantTimeEq;
use tidegate_connectors::postgres::{Postgres, Role, Token};
use tracing::{debug, warn};

use super::{App, Problem};

/// How old what is known of tokens may be.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How soon Postgres is asked again while nothing is known.
const FIRST_AFTER: Duration = Duration::from_millis(50);
const HEADER: &str = "x-api-key";

/// The tokens that Postgres knew a moment ago.
#[derive(Default)]
pub(crate) struct Tokens {
    /// `None` before Postgres was asked.
    known: RwLock<Option<Vec<Token>>>,
    /// Whether whoever asks is let in while there is no token: nobody else can reach the server.
    open: std::sync::atomic::AtomicBool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of the token; `anonymous` while there is none.
    pub(crate) name: String,
}

impl Tokens {
    /// Lets everybody in as long as there is no token.
    pub(super) fn open_while_none(&self) {
        self.open.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Keeps up with Postgres.
    pub(super) async fn follow(&self, postgres: &Postgres) {
        let mut warned = false;
        loop {
            match postgres.tokens().await {
                Ok(tokens) => {
                    warned |= self.say(&tokens, warned);
                    *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(tokens);
                }
                Err(error) => debug!("tokens cannot be asked for: {error}"),
            }
            let is_known = self.known.read().unwrap_or_else(PoisonError::into_inner).is_some();
            tokio::time::sleep(if is_known { REFRESH_EVERY } else { FIRST_AFTER }).await;
        }
    }

    /// Says once, if there is no token, what that means.
    fn say(&self, tokens: &[Token], said: bool) -> bool {
        if said || !tokens.is_empty() {
            return false;
        }
        if self.open.load(std::sync::atomic::Ordering::Relaxed) {
            warn!(
                "HTTP asks for no token: there is none, and only this machine can reach it; make one with 'tidegate \
                 token create'"
            );
        } else {
            warn!("HTTP refuses everything: there is no token; make one with 'tidegate token create'");
        }
        true
    }

    /// Who shows these headers, if they may do what `role` may.
    fn check(&self, parts: &Parts, role: Option<Role>) -> Result<Caller, Problem> {
        let headers = &parts.headers;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.as_ref() else {
            return Err(Problem::unavailable("the pipeline is starting; send it again"));
        };
        if known.is_empty() && self.open.load(std::sync::atomic::Ordering::Relaxed) {
            return match is_of_this_machine(parts) {
                true => Ok(Caller { name: "anonymous".to_owned() }),
                false => Err(forbidden(
                    "while there is no token, only programs of this machine are let in, by its own name, and no page of \
                     another site: make one with 'tidegate token create', and show it"
                        .to_owned(),
                )),
            };
        }
        let Some(shown) = shown(headers) else {
            return Err(unauthorized("show a token: 'Authorization: Bearer TOKEN' or 'x-api-key: TOKEN'"));
        };
        let hash = Token::hash_of(shown);
        // All of them are compared, each in the same time.
        let mut found = None;
        for token in known {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(token);
            }
        }
        let expired = |token: &&Token| token.expires_at.is_none_or(|at| SystemTime::now() < at);
        let Some(token) = found.filter(expired) else {
            return Err(unauthorized("the token is not known, or has expired"));
        };
        if role.is_some_and(|role| !token.role.may(role)) {
            let detail = format!(
                "the token '{}' has the role {}, which may not do that",
                token.name,
                token.role.as_str()
            );
            return Err(forbidden(detail));
        }
        Ok(Caller { name: token.name.clone() })
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "who asks is not known", detail)
}

fn forbidden(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "who asks may not do that", detail)
}

/// Whether it was meant for this machine and comes from no page of another site: what a browser is made to send
/// names that page as its origin, or the server by a name of the page's choice.
fn is_of_this_machine(parts: &Parts) -> bool {
    let text = |name| parts.headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let authority = parts.uri.authority().map(Authority::as_str).or_else(|| text(header::HOST));
    let Some(authority) = authority.and_then(|text| text.parse::<Authority>().ok()) else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback());
    let is_own = |origin: &str| {
        let of = origin.split_once("://").map(|(_, of)| of);
        of.is_some_and(|of| of.eq_ignore_ascii_case(authority.as_str()))
    };
    is_loopback && text(header::ORIGIN).is_none_or(is_own)
}

/// The token in the headers.
fn shown(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get(HEADER) {
        return key.to_str().ok();
    }
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

macro_rules! extractors {
    ($($(#[doc = $doc:literal])+ $name:ident, $role:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug)]
            pub(crate) struct $name(
                #[allow(dead_code)] // not every handler keeps who asked
                pub(crate) Caller,
            );

            impl FromRequestParts<App> for $name {
                type Rejection = Problem;

                async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                    app.tokens.check(parts, $role).map(Self)
                }
            }
        )+
    };
}

extractors! {
    /// Somebody who may send rows.
    Ingest, Some(Role::Ingest);
    /// Somebody who may look.
    Read, Some(Role::Read);
    /// Somebody who may move dead letters, back up and restore.
    Operate, Some(Role::Operate);
    /// Somebody who is known at all.
    Anybody, None;
}
