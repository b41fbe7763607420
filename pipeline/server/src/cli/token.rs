//! `tidegate token`: makes, lists and deletes tokens of the HTTP API.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_postgres::relation::ColumnKind::Text;
use tidegate_postgres::schema;
use tidegate_store::{Token, TokenRole, tokens};
use uuid::Uuid;

use crate::Failure;
use crate::cli::{FormatArguments, Global, one_of, output, settings};

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and show it this once
    #[command(after_help = "\
Examples:
  tidegate token create loader --role ingest                  for clients that send rows
  tidegate token create dashboard --role read --expires-in 90d
  tidegate token create admin --role operate                  may do everything

Only the hash of a token is kept. A running pipeline applies a change at once.")]
    Create {
        /// What people know it by
        name: String,
        /// What it may do
        #[arg(long, value_parser = one_of([
            (TokenRole::Ingest, "ingest", "Send rows, and see what became of them"),
            (TokenRole::Read, "read", "Look at everything"),
            (TokenRole::Operate, "operate", "All of it: move dead letters, back up, restore"),
        ]))]
        role: TokenRole,
        /// How long it is good for: 12h, 90d
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List tokens
    List(FormatArguments),
    /// Delete a token; requests that bring it are refused from then on
    Delete {
        /// Its name
        name: String,
    },
}

const NAME_CHARS_MAX: usize = 64;

/// Runs `tidegate token`.
pub async fn command(global: &Global, arguments: &TokenArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    let store = settings.database(Uuid::new_v4())?;
    schema::migrate(&store).await?;
    match &arguments.command {
        TokenCommand::Create { name, role, expires_in } => {
            let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let is_sized = (1..=NAME_CHARS_MAX).contains(&name.len());
            if !is_sized || !name.chars().all(valid) || name == "anonymous" {
                return Err(Failure::usage(format!(
                    "'{name}' cannot name a token; use letters, digits, '-', '_' and '.', at most {NAME_CHARS_MAX}"
                )));
            }
            let secret = format!("tg_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            let expires_at = expires_in.and_then(|within| SystemTime::now().checked_add(within));
            let hash = Token::hash_of(&secret).to_vec();
            let token = Token { name: name.clone(), role: *role, hash, expires_at };
            if !tokens::create(&store, &token).await? {
                return Err(Failure::new(format!(
                    "there is a token '{name}'; delete it first with 'tidegate token delete {name}'"
                )));
            }
            eprintln!("This is shown once, and only its hash is kept:");
            output::print(format!("{secret}\n"))
        }
        TokenCommand::List(format) => {
            let rows = tokens::list(&store).await?.into_iter().map(|token| {
                let expires_at = token.expires_at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
                json!([token.name, token.role.as_str(), expires_at])
            });
            let columns = [("name", Text), ("role", Text), ("expires_at", Text)];
            output::write(&output::relation(&columns, rows), format.format).await
        }
        TokenCommand::Delete { name } if tokens::delete(&store, name).await? => Ok(()),
        TokenCommand::Delete { name } => {
            Err(Failure::new(format!("there is no token '{name}'; 'tidegate token list' shows all")))
        }
    }
}
