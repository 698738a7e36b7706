//! The table of `README.md`: each rule of the protocol that these models are of, and where it is taken away. The compiler sees to it that each
//! variant there is used.

/// The rules, with the files whose variants of `Without` take them away.
const RULES: [(&str, &[&str]); 23] = [
    ("A1", &[ATTEMPTS]),
    ("A2", &[ATTEMPTS]),
    ("A3", &[ATTEMPTS]),
    ("A4", &[ATTEMPTS]),
    ("A5", &[ATTEMPTS]),
    ("F1", &[ATTEMPTS]),
    ("B1", &[POOLS, SLOTS]),
    ("B2", &[POOLS, SLOTS]),
    ("B3", &[POOLS, SLOTS]),
    ("B4", &[POOLS, SLOTS]),
    ("B5", &[POOLS]),
    ("B6", &[POOLS]),
    ("C1", &[PLACES]),
    ("C2", &[PLACES]),
    ("C3", &[PLACES]),
    ("D2", &[EFFECTS]),
    ("D3", &[EFFECTS]),
    ("E1", &[PAGES]),
    ("E2", &[PAGES]),
    ("E3", &[PAGES]),
    ("E4", &[PAGES]),
    ("E5", &[PAGES]),
    ("E6", &[PAGES]),
];

const ATTEMPTS: &str = include_str!("attempts/rules.rs");
const POOLS: &str = include_str!("pools.rs");
const SLOTS: &str = include_str!("slots.rs");
const PLACES: &str = include_str!("places.rs");
const EFFECTS: &str = include_str!("effects.rs");
const PAGES: &str = include_str!("pages.rs");

/// The variants of `Without` in a file, each with what stands above it.
fn variants(source: &str) -> Vec<(String, String)> {
    let (_, after) = source.split_once("enum Without {").expect("a model has rules to do without");
    let (body, _) = after.split_once("\n}").expect("it ends");
    let mut found = Vec::new();
    let mut above = String::new();
    for line in body.lines().map(str::trim) {
        match line.strip_prefix("/// ") {
            Some(text) => above = format!("{above}{text} "),
            None if line.ends_with(',') => {
                found.push((line.trim_end_matches(',').to_owned(), std::mem::take(&mut above)));
            }
            None => {}
        }
    }
    found
}

#[test]
fn each_rule_is_taken_away_somewhere_and_the_table_says_where() {
    let table = include_str!("../README.md");
    for (rule, sources) in RULES {
        let line = table.lines().find(|line| line.starts_with(&format!("| {rule} |")));
        let line = line.unwrap_or_else(|| panic!("the table has no line for {rule}"));
        for source in sources {
            let of_rule: Vec<String> = variants(source)
                .into_iter()
                .filter(|(_, above)| above.contains(&format!("{rule}: ")))
                .map(|(name, _)| name)
                .collect();
            assert!(!of_rule.is_empty(), "nothing takes {rule} away");
            let missing = of_rule.iter().find(|name| !line.contains(&format!("`{name}`")));
            assert_eq!(missing, None, "the table's line for {rule} leaves it out");
        }
    }
}
