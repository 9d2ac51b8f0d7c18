//! The scenario language: a leak or a normal day in a few lines, run in virtual time.

use std::ops::Range;

use crate::event::Name;
use crate::yaml::{At, Kind};

/// A test inside a rule file.
#[derive(Debug, Clone)]
pub struct RuleTest {
    /// The rule that it belongs to.
    pub rule: Name,
    /// What it shows, unique within its rule.
    pub name: Name,
    /// Configuration text; absent = the tests' own default.
    pub config: Option<Block>,
    /// What happens.
    pub given: Block,
    /// What the engine must say.
    pub expect: Block,
}

/// Lines of text within a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// The text.
    pub text: String,
    /// Bytes of the file that it was read from.
    pub span: Range<usize>,
}

/// Reads a test of a rule.
pub(crate) fn test(at: At<'_>, rule: &Name) -> Option<RuleTest> {
    let fields = at.fields("a test")?;
    let name = fields.required("name", At::name);
    let config = fields.optional("config", block);
    let given = fields.required("given", block);
    let expect = fields.required("expect", block);
    fields.end();
    Some(RuleTest {
        rule: rule.clone(),
        name: name?,
        config,
        given: given?,
        expect: expect?,
    })
}

/// A block of lines; empty is allowed, since nothing may be expected.
fn block(at: At<'_>) -> Option<Block> {
    let span = at.node.span.clone();
    match &at.node.kind {
        Kind::Scalar(text) => Some(Block {
            text: text.clone(),
            span,
        }),
        Kind::Empty => Some(Block {
            text: String::new(),
            span,
        }),
        Kind::List(_) | Kind::Map(_) => at.wrong(
            "expected lines of text",
            "begin them with '|' after the key",
        ),
    }
}
