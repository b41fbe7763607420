//! `tidegate token`: who may use the HTTP API.

use std::time::SystemTime;

use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::{Postgres, Token};
use uuid::Uuid;

use crate::cli::{Format, Global, TokenArguments, TokenCommand};
use crate::settings::Settings;
use crate::{Failure, output};

const NAME_CHARS_MAX: usize = 64;

/// `tidegate token`.
///
/// # Errors
///
/// If Postgres cannot be asked, or what is asked for cannot be.
pub async fn command(global: &Global, arguments: &TokenArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let postgres = settings.database(Uuid::new_v4())?;
    postgres.migrate().await?;
    match &arguments.command {
        TokenCommand::Create { name, role, expires_in } => {
            let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty()
                || name.len() > NAME_CHARS_MAX
                || !name.chars().all(valid)
                || name == "anonymous"
            {
                return Err(Failure::usage(format!(
                    "'{name}' cannot name a token; use letters, digits, '-', '_' and '.', at most {NAME_CHARS_MAX}"
                )));
            }
            let secret = format!("tg_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            let expires_at = expires_in.and_then(|within| SystemTime::now().checked_add(within));
            let hash = Token::hash_of(&secret).to_vec();
            let token = Token { name: name.clone(), role: (*role).into(), hash, expires_at };
            if !postgres.create_token(&token).await? {
                return Err(Failure::new(format!(
                    "there is a token '{name}'; delete it first with 'tidegate token delete {name}'"
                )));
            }
            eprintln!("This is shown once, and only its hash is kept:");
            output::print(&format!("{secret}\n"))
        }
        TokenCommand::List(format) => list(&postgres, format.format).await,
        TokenCommand::Delete { name } => match postgres.delete_token(name).await? {
            true => Ok(()),
            false => {
                Err(Failure::new(format!("there is no token '{name}'; 'tidegate token list' shows all")))
            }
        },
    }
}

async fn list(postgres: &Postgres, format: Format) -> Result<(), Failure> {
    let columns = ["name", "role", "expires_at"].map(|name| Column::new(name, ColumnKind::Text)).to_vec();
    let rows = postgres.tokens().await?.into_iter().map(|token| {
        let expires_at = token.expires_at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
        vec![Some(token.name), Some(token.role.as_str().to_owned()), expires_at]
    });
    output::write(&Relation { columns, rows: rows.collect() }, format).await
}
