//! The command, end to end: real processes, real files, a real Postgres.
//!
//! Each test has a [`Home`](home::Home): a folder with a manifest, a landing folder and a database of its
//! own. Nothing sleeps for a fixed time; what must come about is waited for, and so is the end.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod company;
mod home;
mod idle;
mod load;
mod proxy;
mod server;

mod arroyo;
mod backups;
mod bad_input;
mod check;
mod cluster;
mod counts;
mod deliveries;
mod demo;
mod deploy;
mod disk_full;
mod example;
mod failpoints;
mod flights;
mod formats;

mod generate;
mod http;
mod init;
mod init_files;
mod interruptions;
mod keys;
mod kills;
mod letters;
mod names;
mod order;
mod outages;
mod output;
mod preview;
mod recover;
mod resent;
mod run;
mod sessions;
mod shapes;
mod show;
mod strange_files;
mod text;
mod tls;
mod together;
mod trace;
mod upgrade;
mod verify;
mod views;
mod watching;
