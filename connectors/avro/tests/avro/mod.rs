//! Backup and restore: every type, every way a file can be damaged, and files that others might write.

mod database;
mod types;
mod damage;
mod fits;
mod folder;
