//! Who a container's process is: `USER` of the image and runAsUser/runAsGroup, looked up in the image's own
//! `/etc/passwd` and `/etc/group`.
//!
//! Pure: bytes in, ids out. Sources: passwd(5), group(5); containerd's `WithUser`, `WithAdditionalGIDs`.

use serde::{Deserialize, Serialize};

/// The largest `/etc/passwd` or `/etc/group` that is read from an image, in bytes.
pub const DATABASE_MAX_BYTES: usize = 4 << 20;
/// `NGROUPS_MAX`, include/uapi/linux/limits.h, is 65,536; a list longer than this would not fit our messages.
const GROUPS_MAX: usize = 8192;

/// Who is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserRequest {
    /// `USER` of the image: empty, `user`, `uid`, `user:group`, `uid:gid`, …
    pub image_user: String,
    /// runAsUser.
    pub uid: Option<u32>,
    /// runAsGroup.
    pub gid: Option<u32>,
    /// Supplementary groups of the pod.
    pub supplementary: Vec<u32>,
    /// Whether the image's groups that list the user are left out (supplementalGroupsPolicy Strict).
    #[serde(default)]
    pub strict_groups: bool,
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, sorted, with the primary one, as containerd has them.
    pub groups: Vec<u32>,
    /// Home directory by `/etc/passwd`, else `/`.
    pub home: String,
}

/// A user or group that the image does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No line in passwd has this name.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No line in group has this name.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A name or number that is neither.
    #[error("invalid user {0:?} of the image: not user[:group]")]
    Malformed(String),
}

struct PasswdLine {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// The lines of a passwd(5) file that are well-formed; others are skipped, as the C library does.
fn parse_passwd(bytes: &[u8]) -> impl Iterator<Item = PasswdLine> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = str::from_utf8(line).ok()?;
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).unwrap_or("");
        Some(PasswdLine { name: name.to_owned(), uid, gid, home: home.to_owned() })
    })
}

struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// The lines of a group(5) file that are well-formed.
fn parse_group(bytes: &[u8]) -> impl Iterator<Item = GroupLine<'_>> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = str::from_utf8(line).ok()?;
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupLine { name, gid, members: fields.next().unwrap_or("") })
    })
}

/// Looks up who is asked for. In order:
/// 1. runAsUser, else the user part of the image's `USER`, else root;
/// 2. runAsGroup, else the group part of `USER` (unless runAsUser is set), else the user's group in passwd,
///    else 0;
/// 3. the groups that list the user's name, those of the pod, and the primary one.
///
/// A number that passwd does not know is taken as it is; a name must be there.
pub fn resolve(request: &UserRequest, passwd: &[u8], group: &[u8]) -> Result<User, UserError> {
    let (user_part, group_part) = match request.image_user.split_once(':') {
        Some((_, group)) if group.is_empty() || group.contains(':') => {
            return Err(UserError::Malformed(request.image_user.clone()));
        }
        Some((user, group)) => (user, Some(group)),
        None => (request.image_user.as_str(), None),
    };
    let (uid, line) = match (request.uid, user_part.parse::<u32>()) {
        (Some(uid), _) | (None, Ok(uid)) => (uid, parse_passwd(passwd).find(|line| line.uid == uid)),
        (None, Err(_)) if user_part.is_empty() => (0, parse_passwd(passwd).find(|line| line.uid == 0)),
        (None, Err(_)) => {
            let line = parse_passwd(passwd).find(|line| line.name == user_part);
            let line = line.ok_or_else(|| UserError::NoUser(user_part.to_owned()))?;
            (line.uid, Some(line))
        }
    };
    let group_part = group_part.filter(|_| request.uid.is_none());
    let gid = match (request.gid, group_part) {
        (Some(gid), _) => gid,
        (None, Some(name)) => find_group(name, group)?,
        (None, None) => line.as_ref().map_or(0, |line| line.gid),
    };
    let mut groups = request.supplementary.clone();
    groups.push(gid);
    if let Some(line) = line.as_ref().filter(|_| !request.strict_groups) {
        let listed =
            |entry: &GroupLine<'_>| entry.members.split(',').any(|member| member.trim() == line.name);
        groups.extend(parse_group(group).filter(listed).map(|entry| entry.gid));
    }
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(GROUPS_MAX);
    let home =
        line.map(|line| line.home).filter(|home| home.starts_with('/')).unwrap_or_else(|| "/".to_owned());
    Ok(User { uid, gid, groups, home })
}

fn find_group(name: &str, group: &[u8]) -> Result<u32, UserError> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    let line = parse_group(group).find(|line| line.name == name);
    line.map(|line| line.gid).ok_or_else(|| UserError::NoGroup(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# comment:x:5:5::/:\n\xff\xfe:x:7:7::/:\nbroken\n\
        www:x:33:34:www data:/var/www:/sbin/nologin\nnohome:x:40:41\nbig:x:99999999999:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:www,root\ndaemon:x:5: www \nwww:x:34:\nbad:x:x:www\n";

    fn check(
        image_user: &str,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<(u32, u32, Vec<u32>, String), UserError> {
        let request = UserRequest { image_user: image_user.to_owned(), uid, gid, ..UserRequest::default() };
        resolve(&request, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn by_the_image() {
        assert_eq!(check("", None, None), Ok((0, 0, vec![0, 4], "/root".to_owned())));
        assert_eq!(check("www", None, None), Ok((33, 34, vec![4, 5, 34], "/var/www".to_owned())));
        assert_eq!(check("33", None, None), Ok((33, 34, vec![4, 5, 34], "/var/www".to_owned())));
        assert_eq!(check("www:daemon", None, None), Ok((33, 5, vec![4, 5], "/var/www".to_owned())));
        assert_eq!(check("1234:99", None, None), Ok((1234, 99, vec![99], "/".to_owned())));
        assert_eq!(check("1234", None, None), Ok((1234, 0, vec![0], "/".to_owned())));
        assert_eq!(check("nohome", None, None), Ok((40, 41, vec![41], "/".to_owned())));
        assert_eq!(check(":adm", None, None), Ok((0, 4, vec![4], "/root".to_owned())));
    }

    #[test]
    fn by_the_pod() {
        assert_eq!(check("www:daemon", Some(0), None), Ok((0, 0, vec![0, 4], "/root".to_owned())));
        assert_eq!(check("www:daemon", Some(1000), None), Ok((1000, 0, vec![0], "/".to_owned())));
        assert_eq!(check("", Some(33), Some(7)), Ok((33, 7, vec![4, 5, 7], "/var/www".to_owned())));
        let request = UserRequest { uid: Some(1000), supplementary: vec![9, 8, 9], ..UserRequest::default() };
        assert_eq!(resolve(&request, b"", b"").unwrap().groups, [0, 8, 9]);
    }

    #[test]
    fn only_the_groups_of_the_pod() {
        let request = |strict_groups| UserRequest {
            image_user: "www".to_owned(),
            supplementary: vec![9],
            strict_groups,
            ..UserRequest::default()
        };
        assert_eq!(resolve(&request(false), PASSWD, GROUP).unwrap().groups, [4, 5, 9, 34]);
        assert_eq!(resolve(&request(true), PASSWD, GROUP).unwrap().groups, [9, 34]);
    }

    #[test]
    fn what_is_not_there() {
        assert_eq!(check("nobody", None, None), Err(UserError::NoUser("nobody".to_owned())));
        assert_eq!(check("www:nobody", None, None), Err(UserError::NoGroup("nobody".to_owned())));
        assert_eq!(check("big", None, None), Err(UserError::NoUser("big".to_owned())));
        assert_eq!(check("a:b:c", None, None), Err(UserError::Malformed("a:b:c".to_owned())));
        assert_eq!(check("www:", None, None), Err(UserError::Malformed("www:".to_owned())));
    }
}
