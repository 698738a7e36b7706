//! Bounds how deep a template's tree can become, before it is parsed.
//!
//! The parser bounds nesting of blocks. But it reads `a + b + c ...` in a loop, and such a chain makes a tree as deep as it
//! is long, which every later step (even freeing it) walks by recursion; and the nesting of brackets that it accepts takes
//! 2 MiB of stack in an unoptimised build, all that a thread has. So tokens are counted first.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

/// Longest chain of operators, attributes, calls and filters in one expression, and most `elif` branches in a template.
pub(crate) const DEPTH_MAX: usize = 200;

/// Deepest nesting of brackets.
const BRACKETS_MAX: usize = 50;

/// What the tokens of a template show before it is parsed.
#[derive(Default)]
pub(crate) struct Scan {
    /// The line at which the bound is exceeded, if it is.
    pub too_deep: Option<u32>,
    /// The first `break` or `continue` and its line.
    pub loop_control: Option<(&'static str, u32)>,
}

/// Looks at every token up to the first that is too deep. What does not tokenize is left to the parser.
pub(crate) fn scan(source: &str, config: SyntaxConfig) -> Scan {
    let mut depth = Depth::default();
    let mut scan = Scan::default();
    let mut is_block_start = false;
    for token in tokenize(source, false, config) {
        let Ok((token, span)) = token else { break };
        if depth.add(&token) > DEPTH_MAX || depth.brackets.len() > BRACKETS_MAX {
            scan.too_deep = Some(u32::from(span.start_line));
            break;
        }
        let control =
            ["break", "continue"].into_iter().find(|name| matches!(token, Token::Ident(found) if found == *name));
        if is_block_start && let Some(name) = control {
            scan.loop_control.get_or_insert((name, u32::from(span.start_line)));
        }
        is_block_start = matches!(token, Token::BlockStart);
    }
    scan
}

/// An upper bound of the tree's depth, token by token.
#[derive(Default)]
struct Depth {
    /// Of the expression so far.
    current: usize,
    /// For each open bracket: the depth where it opened, and the deepest of its finished items.
    brackets: Vec<(usize, usize)>,
    elifs: usize,
}

impl Depth {
    fn add(&mut self, token: &Token<'_>) -> usize {
        match token {
            Token::VariableStart | Token::BlockStart => {
                self.current = 0;
                self.brackets.clear();
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                self.current += 1;
                self.brackets.push((self.current, self.current));
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                if let Some((_, deepest)) = self.brackets.pop() {
                    self.current = self.current.max(deepest);
                }
            }
            Token::Comma => match self.brackets.last_mut() {
                Some((opened, deepest)) => {
                    *deepest = (*deepest).max(self.current);
                    self.current = *opened;
                }
                None => self.current = 0,
            },
            Token::Ident("elif") => {
                self.elifs += 1;
                return self.elifs.max(self.current);
            }
            // Whatever is no operand may be one level.
            Token::TemplateData(_)
            | Token::VariableEnd
            | Token::BlockEnd
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Int128(_)
            | Token::Float(_)
            | Token::Colon
            | Token::Assign => {}
            // A string beside a string joins it in the tokenizer; names count because `and`, `if` and `not` are names.
            Token::Ident(name) if !matches!(*name, "and" | "or" | "not" | "if" | "else" | "is" | "in") => {}
            _ => self.current += 1,
        }
        self.current
    }
}
