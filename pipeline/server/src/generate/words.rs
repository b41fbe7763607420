//! The words that example data is made of.

const DEPARTMENTS: [&str; 12] = [
    "Research",
    "Customer Care",
    "Finance",
    "Logistics",
    "Procurement",
    "Field Service",
    "Quality",
    "Data Platform",
    "Security",
    "Communications",
    "Facilities",
    "People",
];

const LEVELS: [&str; 10] = [
    "Assistant",
    "Junior",
    "Associate",
    "Experienced",
    "Senior",
    "Lead",
    "Staff",
    "Principal",
    "Deputy Head",
    "Head",
];

const AREAS: [&str; 20] = [
    "Accountant",
    "Analyst",
    "Architect",
    "Auditor",
    "Buyer",
    "Chemist",
    "Designer",
    "Developer",
    "Dispatcher",
    "Editor",
    "Electrician",
    "Engineer",
    "Hydrologist",
    "Librarian",
    "Mechanic",
    "Planner",
    "Recruiter",
    "Statistician",
    "Surveyor",
    "Translator",
];

/// Given names, of many places.
pub(super) const FIRST_NAMES: [&str; 48] = [
    "Ada", "Aiko", "Amara", "Anders", "Ayşe", "Bela", "Bruno", "Chidi", "Clara", "Dalia", "Darius", "Elif",
    "Emeka", "Enrique", "Farah", "Femi", "Greta", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jun", "Kofi",
    "Lars", "Leila", "Lin", "Lucía", "Malik", "Marta", "Mei", "Mila", "Nadia", "Nils", "Noor", "Olga",
    "Omar", "Paulo", "Priya", "Ravi", "Rosa", "Samir", "Sofía", "Tariq", "Uma", "Vera", "Yara", "Zoë",
];

/// Family names, of many places.
pub(super) const LAST_NAMES: [&str; 48] = [
    "Abara",
    "Acosta",
    "Almeida",
    "Bakker",
    "Banerjee",
    "Bergström",
    "Castillo",
    "Chen",
    "Cohen",
    "Dąbrowski",
    "Demir",
    "Diallo",
    "Eriksen",
    "Farouk",
    "Fischer",
    "Fontana",
    "García",
    "Haddad",
    "Hansen",
    "Horvat",
    "Ibrahim",
    "Ito",
    "Jansen",
    "Kaya",
    "Kim",
    "Kovács",
    "Kumar",
    "Larsen",
    "Lindqvist",
    "Mbeki",
    "Mendoza",
    "Moreau",
    "Nakamura",
    "Novák",
    "Okafor",
    "Okonkwo",
    "Papadakis",
    "Pereira",
    "Quispe",
    "Rahman",
    "Rossi",
    "Santos",
    "Silva",
    "Tanaka",
    "Tran",
    "Vargas",
    "Weber",
    "Yılmaz",
];

/// The name of a department, from 0. Names never repeat.
pub(super) fn department(number: u32) -> String {
    numbered(DEPARTMENTS[number as usize % DEPARTMENTS.len()].to_owned(), number as usize / DEPARTMENTS.len())
}

/// The name of a job, from 0. Names never repeat.
pub(super) fn job(number: u32) -> String {
    let number = number as usize;
    let area = AREAS[number % AREAS.len()];
    let level = LEVELS[number / AREAS.len() % LEVELS.len()];
    numbered(format!("{level} {area}"), number / (AREAS.len() * LEVELS.len()))
}

/// What only looks broken: names that a CSV reader must take for one field. Records by their number.
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
