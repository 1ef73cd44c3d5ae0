//! A profile of the user's: the JSON document that OCI runtimes take (runtime-spec, "Seccomp"; what a kubelet calls
//! Localhost), as a classic BPF program.
//!
//! As libseccomp has it: several rules for a call are tried one after the other and the first that matches counts; names that
//! the machine does not have are passed over; an instruction set that is not listed (and x32, which shares that of x86_64) is
//! killed. As runc has it: a call newer than our list fails with `ENOSYS` where the default is an errno.

use super::compile::{
    ARCH_AT, ARGUMENTS_AT, JUMP, JUMP_AT_LEAST, JUMP_EQUAL, LOAD, LOW_HALF, NUMBER_AT, RET_KILL_PROCESS,
    RETURN, jump, search, statement,
};
use super::numbers::{self, Machine};
use serde::Deserialize;
use std::collections::BTreeMap;
use sys::seccomp::Instruction;

/// The largest document that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// `BPF_MAXINSNS`, include/uapi/linux/bpf_common.h.
const INSTRUCTIONS_MAX: usize = 4096;
/// Where the numbers of x32 begin (`__X32_SYSCALL_BIT`).
const X32: u32 = 0x4000_0000;
const JUMP_ABOVE: u16 = 0x25;
const AND: u16 = 0x54;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const RET_ERRNO: u32 = 0x0005_0000;

/// Why a document is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is no such JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A word that means nothing.
    #[error("{what} {word:?} is not known")]
    Unknown {
        /// `action` or `operator`.
        what: &'static str,
        /// As written.
        word: String,
    },
    /// Something that is not done.
    #[error("{0} is not supported yet by this version of rhizome")]
    NotYet(&'static str),
    /// An argument that no call has.
    #[error("a call has arguments 0 to 5, not {0}")]
    Argument(u32),
    /// More than the kernel takes.
    #[error("{0} instructions are more than the kernel takes (4096)")]
    TooLong(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    syscalls: Vec<Calls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// The program of a profile, for what this machine runs.
///
/// # Errors
/// The document cannot be done in full.
pub fn compile(document: &[u8]) -> Result<Vec<Instruction>, ProfileError> {
    let document: Document = serde_json::from_slice(document)?;
    if !document.listener_path.is_empty() {
        return Err(ProfileError::NotYet("listenerPath"));
    }
    let small = document.architectures.iter().any(|name| name == "SCMP_ARCH_X86");
    let machines = if small && Machine::NATIVE == Machine::X86_64 {
        vec![Machine::X86_64, Machine::I386]
    } else {
        vec![Machine::NATIVE]
    };
    let mut program = vec![statement(LOAD, ARCH_AT)];
    for machine in machines {
        let body = body(&document, machine)?;
        program.push(jump(JUMP_EQUAL, machine.audit(), 1, 0));
        program.push(statement(JUMP, body.len() as u32));
        program.extend(body);
    }
    program.push(statement(RETURN, RET_KILL_PROCESS));
    if program.len() > INSTRUCTIONS_MAX {
        return Err(ProfileError::TooLong(program.len()));
    }
    Ok(program)
}

fn body(document: &Document, machine: Machine) -> Result<Vec<Instruction>, ProfileError> {
    let default = action(&document.default_action, document.default_errno_ret)?;
    let numbers: BTreeMap<&str, u32> = numbers::all(machine).collect();
    let mut rules: BTreeMap<u32, Vec<Instruction>> = BTreeMap::new();
    for calls in &document.syscalls {
        let give = action(&calls.action, calls.errno_ret)?;
        let rule = rule(&calls.args, give)?;
        for number in calls.names.iter().filter_map(|name| numbers.get(name.as_str())) {
            rules.entry(*number).or_default().extend(rule.iter().copied());
        }
    }
    let default_block = vec![statement(RETURN, default)];
    let mut ranges: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut add = |start: u32, block: Vec<Instruction>| {
        if ranges.last().is_none_or(|(_, last)| *last != block) {
            ranges.push((start, block));
        }
    };
    let mut next = 0;
    for (number, mut block) in rules {
        if number > next {
            add(next, default_block.clone());
        }
        block.push(statement(RETURN, default));
        add(number, block);
        next = number + 1;
    }
    add(next, default_block);
    let newest = numbers.values().copied().max().unwrap_or(0);
    let is_errno = default & 0xffff_0000 == RET_ERRNO;
    if is_errno && next <= newest + 1 {
        add(newest + 1, vec![statement(RETURN, RET_ERRNO | ENOSYS)]);
    }
    let mut body = vec![statement(LOAD, NUMBER_AT)];
    if machine == Machine::X86_64 {
        body.push(jump(JUMP_AT_LEAST, X32, 0, 1));
        body.push(statement(RETURN, RET_KILL_PROCESS));
    }
    body.extend(search(&ranges));
    Ok(body)
}

/// What the kernel takes for an action.
fn action(word: &str, errno: Option<u16>) -> Result<u32, ProfileError> {
    let errno = errno.map_or(EPERM, u32::from);
    Ok(match word {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => RET_ERRNO | errno,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError::NotYet("SCMP_ACT_NOTIFY")),
        other => return Err(ProfileError::Unknown { what: "action", word: other.to_owned() }),
    })
}

/// Where a comparison goes on.
#[derive(Clone, Copy)]
enum To {
    /// The instruction after it.
    Next,
    /// The comparison holds.
    Holds,
    /// It does not.
    Fails,
}

/// A rule: if all comparisons hold its action is given, else it falls through to what comes after it.
fn rule(arguments: &[Argument], give: u32) -> Result<Vec<Instruction>, ProfileError> {
    let mut code = vec![statement(RETURN, give)];
    for argument in arguments.iter().rev() {
        let mut comparison = compare(argument, code.len())?;
        comparison.extend(code);
        code = comparison;
    }
    Ok(code)
}

/// One comparison of all 64 bits of an argument; `rest` instructions of the rule come after it.
fn compare(argument: &Argument, rest: usize) -> Result<Vec<Instruction>, ProfileError> {
    use To::{Fails, Holds, Next};
    if argument.index > 5 {
        return Err(ProfileError::Argument(argument.index));
    }
    let at = ARGUMENTS_AT + 8 * argument.index;
    let (low, high) = (at + LOW_HALF, at + 4 - LOW_HALF);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (h, l) = halves(argument.value);
    let load = |offset| (LOAD, offset, Next, Next);
    let code: Vec<(u16, u32, To, To)> = match argument.op.as_str() {
        "SCMP_CMP_EQ" => {
            vec![load(high), (JUMP_EQUAL, h, Next, Fails), load(low), (JUMP_EQUAL, l, Next, Fails)]
        }
        "SCMP_CMP_NE" => {
            vec![load(high), (JUMP_EQUAL, h, Next, Holds), load(low), (JUMP_EQUAL, l, Fails, Next)]
        }
        "SCMP_CMP_GT" | "SCMP_CMP_GE" => {
            let last = if argument.op.ends_with('T') { JUMP_ABOVE } else { JUMP_AT_LEAST };
            let high_half = [(JUMP_ABOVE, h, Holds, Next), (JUMP_EQUAL, h, Next, Fails)];
            [vec![load(high)], high_half.to_vec(), vec![load(low), (last, l, Next, Fails)]].concat()
        }
        "SCMP_CMP_LT" | "SCMP_CMP_LE" => {
            let last = if argument.op.ends_with('T') { JUMP_AT_LEAST } else { JUMP_ABOVE };
            let high_half = [(JUMP_ABOVE, h, Fails, Next), (JUMP_EQUAL, h, Next, Holds)];
            [vec![load(high)], high_half.to_vec(), vec![load(low), (last, l, Fails, Next)]].concat()
        }
        "SCMP_CMP_MASKED_EQ" => {
            // `value` is the mask, `valueTwo` what must be left.
            let (wanted_high, wanted_low) = halves(argument.value_two);
            vec![
                load(high),
                (AND, h, Next, Next),
                (JUMP_EQUAL, wanted_high, Next, Fails),
                load(low),
                (AND, l, Next, Next),
                (JUMP_EQUAL, wanted_low, Next, Fails),
            ]
        }
        other => return Err(ProfileError::Unknown { what: "operator", word: other.to_owned() }),
    };
    let length = code.len();
    let distance = |index: usize, to: To| match to {
        Next => 0,
        Holds => length - index - 1,
        Fails => length - index - 1 + rest,
    };
    let too_long = |_| ProfileError::TooLong(rest);
    code.into_iter()
        .enumerate()
        .map(|(index, (operation, operand, yes, no))| {
            let yes = u8::try_from(distance(index, yes)).map_err(too_long)?;
            Ok(jump(operation, operand, yes, u8::try_from(distance(index, no)).map_err(too_long)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::compile::tests::run;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;

    fn check(document: &str, name: &str, arguments: [u64; 3], expected: u32) {
        let program = compile(document.as_bytes()).unwrap();
        let number = numbers::all(Machine::NATIVE).find(|(is, _)| *is == name).unwrap().1;
        let [a, b, c] = arguments;
        let answer = run(&program, Machine::NATIVE.audit(), number, [a, b, c, 0, 0, 0]);
        assert_eq!(answer, expected, "{name} {arguments:x?}");
    }

    #[test]
    fn a_list_of_what_is_allowed() {
        let document = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
            "syscalls": [{"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["mount"], "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]},
                {"names": ["socket"], "action": "SCMP_ACT_ALLOW"}]}"#;
        check(document, "read", [0; 3], ALLOW);
        check(document, "mount", [0; 3], RET_KILL_PROCESS);
        check(document, "close", [0; 3], RET_ERRNO | 13);
        check(document, "socket", [16, 0, 0], RET_ERRNO | 97);
        check(document, "socket", [1, 0, 0], ALLOW);
        let program = compile(document.as_bytes()).unwrap();
        let answer = |arch, number| run(&program, arch, number, [0; 6]);
        assert_eq!(answer(Machine::NATIVE.audit(), 9999), RET_ERRNO | ENOSYS);
        assert_eq!(answer(7, 0), RET_KILL_PROCESS);
        if Machine::NATIVE == Machine::X86_64 {
            assert_eq!(answer(Machine::I386.audit(), 3), ALLOW, "read of 32-bit programs");
            assert_eq!(answer(Machine::I386.audit(), 0), RET_ERRNO | 13);
            assert_eq!(answer(Machine::NATIVE.audit(), X32), RET_KILL_PROCESS, "x32 is no way around a list");
        }
    }

    #[test]
    fn every_operator_compares_sixty_four_bits() {
        let big = 0x1_0000_0005_u64;
        type Holds = fn(u64, u64) -> bool;
        let holds: [(&str, Holds); 6] = [
            ("EQ", |a, b| a == b),
            ("NE", |a, b| a != b),
            ("LT", |a, b| a < b),
            ("LE", |a, b| a <= b),
            ("GE", |a, b| a >= b),
            ("GT", |a, b| a > b),
        ];
        let values = [0, 4, 5, 6, big - 1, big, big + 1, big + (1 << 32), u64::MAX, u64::MAX - 1];
        for (operator, holds) in holds {
            for value in [5, big, u64::MAX - 1] {
                let document = format!(
                    r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
                    "args": [{{"index": 2, "value": 7, "op": "SCMP_CMP_EQ"}}, {{"index": 1, "value": {value}, "op": "SCMP_CMP_{operator}"}}]}}]}}"#
                );
                for given in values {
                    let expected = if holds(given, value) { RET_ERRNO | EPERM } else { ALLOW };
                    check(&document, "ioctl", [0, given, 7], expected);
                    check(&document, "ioctl", [0, given, 8], ALLOW);
                }
            }
        }
        let masked = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 2114060288, "valueTwo": 268435456, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
        check(masked, "clone", [0x1000_0011, 0, 0], RET_ERRNO | EPERM);
        check(masked, "clone", [0x3000_0011, 0, 0], ALLOW);
    }

    #[test]
    fn what_is_no_profile() {
        let error = |document: &str| compile(document.as_bytes()).unwrap_err().to_string();
        assert!(error("{").contains("EOF"));
        assert!(error("{}").contains("defaultAction"));
        assert_eq!(error(r#"{"defaultAction": "ALLOW"}"#), "action \"ALLOW\" is not known");
        let one = |more: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{more}]}}]}}"#
            )
        };
        assert_eq!(
            error(&one(r#"{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}"#)),
            "a call has arguments 0 to 5, not 6"
        );
        assert_eq!(error(&one(r#"{"index": 0, "value": 0, "op": "EQ"}"#)), "operator \"EQ\" is not known");
        assert!(error(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#).contains("not supported yet"));
        let all: Vec<String> = numbers::all(Machine::NATIVE).map(|(name, _)| format!("{name:?}")).collect();
        let argument = r#"{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}"#;
        let many = [argument; 6].join(",");
        let long = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": [{}], "action": "SCMP_ACT_ERRNO", "args": [{many}]}}]}}"#,
            all.join(",")
        );
        // One rule for all of them is one range; two that take turns are not.
        assert!(compile(long.as_bytes()).is_ok());
    }
}
