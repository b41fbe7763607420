//! Who requests a change.

/// The name of the requester: `by`, or else the user of the machine.
pub(crate) fn requester(by: Option<&str>) -> String {
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    by.map(str::to_owned)
        .or_else(|| user().map(|user| user.name))
        .unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
}
