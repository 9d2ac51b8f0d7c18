//! How many HL7 messages a TCP segment begins (MLLP, HL7 v2.x appendix C: each stands between 0x0B and 0x1C 0x0D).

/// What each begins with.
const BEGIN: &[u8] = b"\x0bMSH";

/// Messages that a payload begins with, and that follow in it; acknowledgements do not count.
#[must_use]
pub fn messages(payload: &[u8]) -> u64 {
    if !payload.starts_with(BEGIN) {
        return 0;
    }
    let frames = payload.split(|byte| *byte == BEGIN[0]);
    let counts = |frame: &&[u8]| frame.starts_with(&BEGIN[1..]) && !is_answer(frame);
    frames.filter(counts).count() as u64
}

/// Whether it is an acknowledgement alone, by its type (MSH-9): the answer to a query acknowledges, too, and has patients.
fn is_answer(frame: &[u8]) -> bool {
    let Some(separator) = frame.get(3) else {
        return false;
    };
    let kind = frame.split(|byte| byte == separator).nth(8);
    kind.is_some_and(|kind| kind.starts_with(b"ACK"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_answers_are_not() {
        let result =
            b"\x0bMSH|^~\\&|LIS|RSUD|||20261122||ORU^R01|1|P|2.5\rPID|1\rOBX|1|NM|x\r\x1c\r";
        let answer = b"\x0bMSH|^~\\&|HIS|RSUD|||20261122||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r";
        assert_eq!(messages(result), 1);
        assert_eq!(messages(&result[..30]), 1, "a message may be cut");
        assert_eq!(messages(&[result.as_slice(), result, answer].concat()), 2);
        assert_eq!(messages(answer), 0);
        assert_eq!(messages(b"MSH|^~\\&|"), 0);
        assert_eq!(messages(b""), 0);
    }
}
