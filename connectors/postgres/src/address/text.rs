//! The two forms of a connection string, a url and `key=value`, read as libpq reads them.

use percent_encoding::percent_decode_str;

/// A parameter's name and its value.
pub(super) type Parameter = (String, String);

/// Returns the parameters of a connection string in order, without those that are empty. A parameter that is given
/// twice is in the list twice: the last one counts.
///
/// # Errors
///
/// What is wrong and what to write. The text never repeats a part of the connection string that may be secret.
pub(super) fn parameters(text: &str) -> Result<Vec<Parameter>, String> {
    let text = text.trim();
    let url = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let mut parameters = match url {
        Some(rest) => of_url(rest)?,
        None => match text.split_once("://") {
            Some((scheme, _)) if !scheme.contains(['=', '@', ' ']) => {
                return Err(format!("it begins with \"{scheme}://\": write postgres:// there"));
            }
            _ => of_pairs(text)?,
        },
    };
    parameters.retain(|(_, value)| !value.is_empty());
    Ok(parameters)
}

fn of_url(url: &str) -> Result<Vec<Parameter>, String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    assert_escaped(url, address, authority)?;
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: String| parameters.push((name.to_owned(), value));
    let servers = match authority.split_once('@') {
        Some((credentials, servers)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            add("user", decoded(user)?);
            add("password", decoded(password)?);
            servers
        }
        None => authority,
    };
    if !servers.is_empty() {
        let (hosts, ports) = servers_of(servers)?;
        add("host", hosts.join(","));
        add("port", ports.join(","));
    }
    add("dbname", decoded(database)?);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err("a parameter behind its '?' has no '='".to_owned());
        };
        match (decoded(name)?.as_str(), decoded(value)?) {
            // As in urls of JDBC.
            ("ssl", value) if value == "true" => add("sslmode", "require".to_owned()),
            (name, value) => add(name, value),
        }
    }
    Ok(parameters)
}

/// Checks that no character of the credentials is one that ends them.
fn assert_escaped(url: &str, address: &str, authority: &str) -> Result<(), String> {
    let raw = |character: char, code: &str| {
        Err(format!("its password, or its user, has a '{character}': write {code} in place of it"))
    };
    if authority.matches('@').count() > 1 {
        return raw('@', "%40");
    }
    if address.contains('#') {
        return raw('#', "%23");
    }
    // Without an '@' before the first '/' or '?', what stands there is a host and its port.
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let rest = &url[authority.len()..];
    if !authority.contains('@') && rest.contains('@') && port.parse::<u16>().is_err() && !port.is_empty() {
        return if rest.starts_with('/') { raw('/', "%2F") } else { raw('?', "%3F") };
    }
    Ok(())
}

/// Returns the hosts and the ports between the credentials and the database. A port that is not given is empty.
fn servers_of(servers: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for server in servers.split(',') {
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (address, behind) =
                    rest.split_once(']').ok_or("a '[' before an IPv6 address lacks its ']'")?;
                let port = behind.strip_prefix(':').or(behind.is_empty().then_some(""));
                (address, port.ok_or("behind the ']' of an IPv6 address comes ':' and a port, or nothing")?)
            }
            None => server.split_once(':').unwrap_or((server, "")),
        };
        hosts.push(decoded(host)?);
        ports.push(decoded(port)?);
    }
    Ok((hosts, ports))
}

/// Decodes `%XX`. A '+' stays, as in libpq.
fn decoded(text: &str) -> Result<String, String> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('%') {
        let is_code = behind.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
        if !is_code || behind.starts_with("00") {
            return Err(
                "it has a '%' that begins no code of a character: write %25 in place of it".to_owned()
            );
        }
        rest = behind;
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| "the codes behind its '%' are no UTF-8".to_owned())
}

/// Reads `key = value`, with blanks between the pairs. A value may be in single quotes. A backslash escapes.
fn of_pairs(text: &str) -> Result<Vec<Parameter>, String> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, behind)) = rest.split_once('=') else { return Err(no_pair(parameters.is_empty())) };
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(no_pair(parameters.is_empty()));
        }
        let (value, behind) = value(behind.trim_start())?;
        parameters.push((name.to_owned(), value));
        rest = behind.trim_start();
    }
    Ok(parameters)
}

fn no_pair(is_first: bool) -> String {
    match is_first {
        true => "it is neither a url nor a list of key=value".to_owned(),
        false => "behind a value comes another key=value: a value with blanks is written in single quotes"
            .to_owned(),
    }
}

/// Reads a value, and returns what stands behind it.
fn value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.strip_prefix('\'');
    let text = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted.is_some() => return Ok((value, &text[at + 1..])),
            blank if quoted.is_none() && blank.is_whitespace() => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if quoted.is_some() {
        return Err("a value in single quotes does not end".to_owned());
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> String {
        let parameters = parameters(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        for (url, expected) in [
            ("postgres://u:p@h:1/d", "user=u password=p host=h port=1 dbname=d"),
            ("postgresql://h", "host=h"),
            ("postgresql:///d?host=/var/run/postgresql", "dbname=d host=/var/run/postgresql"),
            ("postgres://%2Frun%2Fpg/d", "host=/run/pg dbname=d"),
            ("postgres://u%40v:p%3A%2f%25%C3%A9@h", "user=u@v password=p:/%é host=h"),
            ("postgres://u:p:q@h", "user=u password=p:q host=h"),
            ("postgres://a:1,b,c:3/d", "host=a,b,c port=1,,3 dbname=d"),
            ("postgres://[::1]:5433,[fe80::1]/d", "host=::1,fe80::1 port=5433, dbname=d"),
            ("postgres://h/d@x?user=a@b", "host=h dbname=d@x user=a@b"),
            ("postgres://h?options=-c%20a=b+c&sslmode=", "host=h options=-c a=b+c"),
            ("postgres://h?ssl=true", "host=h sslmode=require"),
            (" postgres://h?sslmode=disable&sslmode=require\n", "host=h sslmode=disable sslmode=require"),
        ] {
            assert_eq!(listed(url), expected, "{url}");
        }
    }

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        for (text, expected) in [
            ("host=h port=1", "host=h port=1"),
            ("host = h  dbname =d", "host=h dbname=d"),
            (r"password='it\'s a \\ ' user=u", r"password=it's a \  user=u"),
            (r"password=a\ b user=''", "password=a b"),
            ("options='-c a=b' host=/run/pg", "options=-c a=b host=/run/pg"),
            ("", ""),
        ] {
            assert_eq!(listed(text), expected, "{text}");
        }
    }

    #[test]
    fn a_string_that_is_none_is_answered_with_what_to_write_and_without_its_secrets() {
        for (text, expected) in [
            ("postgres://u:sec@ret@h/d", "write %40"),
            ("postgres://u:sec#ret@h/d", "write %23"),
            ("postgres://u:sec/ret@h/d", "write %2F"),
            ("postgres://u:sec?ret@h/d", "write %3F"),
            ("postgres://u:sec%ret@h/d", "write %25"),
            ("postgres://u:sec%00ret@h/d", "write %25"),
            ("postgres://u:%ff@h/d", "no UTF-8"),
            ("postgres://[::1/d", "lacks its ']'"),
            ("postgres://h/d?secret", "has no '='"),
            ("jdbc:postgresql://h/d?password=secret", "\"jdbc:postgresql://\": write postgres://"),
            ("postgresql+asyncpg://u:secret@h/d", "write postgres://"),
            ("secret", "neither a url nor a list"),
            ("host=h password=sec ret", "in single quotes"),
            ("password='secret", "does not end"),
        ] {
            let fault = parameters(text).expect_err(text);
            assert!(fault.contains(expected), "{text}: {fault}");
            assert!(!fault.contains("sec") && !fault.contains("ret@"), "{text}: {fault}");
        }
    }
}
