//! Callers of the API, their tokens and roles.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use subtle::ConstantTimeEq;
use tidegate_postgres::listener::Notifications;
use tidegate_store::{Store, Token, TokenRole, tokens};
use tracing::{debug, warn};

use super::{App, Problem};

/// The pause before Postgres is queried again while no tokens are known.
const FIRST_AFTER: Duration = Duration::from_millis(50);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const HEADER: &str = "x-api-key";

/// The tokens as Postgres last returned them.
pub(super) struct Tokens {
    /// `None` before the first answer of Postgres.
    known: RwLock<Option<Vec<Token>>>,
    /// Whether callers are let in without a token while there is none, because only this machine can reach the server.
    is_open: bool,
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The name of the token; `anonymous` while there is no token.
    pub(super) name: String,
}

impl Tokens {
    /// Lets every caller in while there is no token, if `is_open`.
    pub(super) fn new(is_open: bool) -> Self {
        Self { known: RwLock::default(), is_open }
    }

    /// Follows the changes of tokens in Postgres.
    pub(super) async fn follow(&self, store: &Store, mut notifications: Notifications) {
        let mut warned = false;
        loop {
            let mut is_current = false;
            match tokens::list(store).await {
                Ok(tokens) => {
                    if tokens.is_empty() && !warned {
                        warned = true;
                        self.warn();
                    }
                    *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(tokens);
                    is_current = true;
                }
                Err(error) => debug!("tokens cannot be asked for: {error}"),
            }
            let is_known = self.known.read().unwrap_or_else(PoisonError::into_inner).is_some();
            // A token may have been deleted, so a failed query is repeated soon.
            let again = if is_known { AGAIN_AFTER } else { FIRST_AFTER };
            notifications.next((!is_current).then_some(again)).await;
        }
    }

    /// Warns that there is no token.
    fn warn(&self) {
        if self.is_open {
            warn!(
                "HTTP asks for no token: there is none, and only this machine can reach it; make one with 'tidegate \
                 token create'"
            );
        } else {
            warn!("HTTP refuses everything: there is no token; make one with 'tidegate token create'");
        }
    }

    /// Returns the caller, if its token has a role that includes `role`.
    fn check(&self, parts: &Parts, role: Option<TokenRole>) -> Result<Caller, Problem> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.as_ref() else {
            return Err(Problem::unavailable("the pipeline is starting; send it again"));
        };
        if known.is_empty() && self.is_open {
            return match is_of_this_machine(parts) {
                true => Ok(Caller { name: "anonymous".to_owned() }),
                false => Err(forbidden(
                    "while there is no token, only programs of this machine are let in, by its own name, and no page of \
                     another site: make one with 'tidegate token create', and show it",
                )),
            };
        }
        let Some(shown) = token_in(&parts.headers) else {
            return Err(unauthorized("show a token: 'Authorization: Bearer TOKEN' or 'x-api-key: TOKEN'"));
        };
        let hash = Token::hash_of(shown);
        // All tokens are compared, each in constant time.
        let found = known
            .iter()
            .fold(None, |found, token| if token.hash.ct_eq(&hash).into() { Some(token) } else { found });
        let is_valid = |token: &&Token| token.expires_at.is_none_or(|at| SystemTime::now() < at);
        let Some(Token { name, role: its, .. }) = found.filter(is_valid) else {
            return Err(unauthorized("the token is not known, or has expired"));
        };
        match role {
            Some(role) if !its.may(role) => {
                let its = its.as_str();
                Err(forbidden(format!("the token '{name}' has the role {its}, which may not do that")))
            }
            _ => Ok(Caller { name: name.clone() }),
        }
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the caller is not known", detail)
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "the caller may not do that", detail)
}

/// Whether a request is addressed to this machine and comes from no page of another site. If such a page makes a
/// browser send a request, the request names the page as its origin, or addresses the server by a host name of the
/// page's choice.
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
fn token_in(headers: &HeaderMap) -> Option<&str> {
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
            pub(super) struct $name(
                pub(super) App,
                #[allow(dead_code)] // not every handler uses the caller
                pub(super) Caller,
            );

            impl FromRequestParts<App> for $name {
                type Rejection = Problem;

                async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                    Ok(Self(app.clone(), app.tokens.check(parts, $role)?))
                }
            }
        )+
    };
}

extractors! {
    /// The state, for a caller who may send rows.
    Ingest, Some(TokenRole::Ingest);
    /// The state, for a caller who may read.
    Read, Some(TokenRole::Read);
    /// The state, for a caller who may move dead letters, back up and restore.
    Operate, Some(TokenRole::Operate);
    /// The state, for a caller with any valid token.
    Anybody, None;
}
