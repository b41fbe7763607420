//! The words of the example data.

use std::sync::LazyLock;

type Words = LazyLock<Vec<&'static str>>;

static DEPARTMENTS: Words = LazyLock::new(|| {
    "Research, Customer Care, Finance, Logistics, Procurement, Field Service, Quality, Data Platform, \
     Security, Communications, Facilities, People"
        .split(", ")
        .collect()
});

static LEVELS: Words = LazyLock::new(|| {
    "Assistant, Junior, Associate, Experienced, Senior, Lead, Staff, Principal, Deputy Head, Head"
        .split(", ")
        .collect()
});

static AREAS: Words = LazyLock::new(|| {
    "Accountant Analyst Architect Auditor Buyer Chemist Designer Developer Dispatcher Editor Electrician \
     Engineer Hydrologist Librarian Mechanic Planner Recruiter Statistician Surveyor Translator"
        .split(' ')
        .collect()
});

/// Given names from many places.
pub(super) static FIRST_NAMES: Words = LazyLock::new(|| {
    "Ada Aiko Amara Anders Ayşe Bela Bruno Chidi Clara Dalia Darius Elif Emeka Enrique Farah Femi Greta \
     Hana Hugo Ines Ivan Jana Jun Kofi Lars Leila Lin Lucía Malik Marta Mei Mila Nadia Nils Noor Olga \
     Omar Paulo Priya Ravi Rosa Samir Sofía Tariq Uma Vera Yara Zoë"
        .split(' ')
        .collect()
});

/// Family names from many places.
pub(super) static LAST_NAMES: Words = LazyLock::new(|| {
    "Abara Acosta Almeida Bakker Banerjee Bergström Castillo Chen Cohen Dąbrowski Demir Diallo Eriksen \
     Farouk Fischer Fontana García Haddad Hansen Horvat Ibrahim Ito Jansen Kaya Kim Kovács Kumar Larsen \
     Lindqvist Mbeki Mendoza Moreau Nakamura Novák Okafor Okonkwo Papadakis Pereira Quispe Rahman Rossi \
     Santos Silva Tanaka Tran Vargas Weber Yılmaz"
        .split(' ')
        .collect()
});

/// The name of a department by its number, from 0. Names never repeat.
pub(super) fn department(number: u32) -> String {
    numbered(DEPARTMENTS[number as usize % DEPARTMENTS.len()].to_owned(), number as usize / DEPARTMENTS.len())
}

/// The name of a job by its number, from 0. Names never repeat.
pub(super) fn job(number: u32) -> String {
    let number = number as usize;
    let area = AREAS[number % AREAS.len()];
    let level = LEVELS[number / AREAS.len() % LEVELS.len()];
    numbered(format!("{level} {area}"), number / (AREAS.len() * LEVELS.len()))
}

/// The name of a record that only looks broken: a CSV reader must take it for one field. Records are given by number.
pub(super) fn quoted_name(record: u64) -> Option<&'static str> {
    match record {
        42 | 1207 => Some("\"Okafor, Amara\""),
        256 => Some("\"Bruno \"\"Bo\"\" Fischer\""),
        613 => Some("\"Clara\nvan den Berg\""),
        1024 => Some("\"Ines Santos\""),
        1888 => Some("\"\"\"Zoë\"\", Head of Rain\""),
        _ => None,
    }
}

fn numbered(name: String, round: usize) -> String {
    if round == 0 { name } else { format!("{name} {}", round + 1) }
}
