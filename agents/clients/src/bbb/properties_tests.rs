#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Write;

use proptest::prelude::*;

use super::{decode, parse};

/// Compares with OpenJDK 17's `java.util.Properties.load`, except for malformed escapes, which it refuses.
#[test]
fn lines_as_java_reads_them() {
    let rows: &[(&str, &[(&str, &str)])] = &[
        ("", &[]),
        ("\n \t\x0c\n\r\n", &[]),
        ("# no=1\n ! no=2\n\t#no=3\ra=1", &[("a", "1")]),
        ("a=1\nb:2\nc 3\nd\t4\ne\x0c5", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]),
        ("  a  =  1  ", &[("a", "1  ")]),
        ("a = : 1", &[("a", ": 1")]),
        ("a == 1", &[("a", "= 1")]),
        ("a  1=2", &[("a", "1=2")]),
        ("a", &[("a", "")]),
        ("a=", &[("a", "")]),
        ("=1", &[("", "1")]),
        ("a\\=b\\:c\\ d=1", &[("a=b:c d", "1")]),
        ("a\\\\=1", &[("a\\", "1")]),
        ("a=1#2!3", &[("a", "1#2!3")]),
        ("\\#a=1\n\\!b=2", &[("!b", "2"), ("#a", "1")]),
        ("a=\\t\\n\\r\\f\\q\\\\", &[("a", "\t\n\r\u{c}q\\")]),
        ("a=1\\\n   2\\\r\n\t3\\\r4\nb=5", &[("a", "1234"), ("b", "5")]),
        ("a=1\\\\\nb=2", &[("a", "1\\"), ("b", "2")]),
        ("a=1\\\\\\\nb=2", &[("a", "1\\b=2")]),
        // A comment is not continued, the continuation of a value is no comment, and a blank line ends the value.
        ("# a\\\nb=1", &[("b", "1")]),
        ("a=1\\\n# 2", &[("a", "1# 2")]),
        ("a=1\\\n\nb=2", &[("a", "1"), ("b", "2")]),
        ("\\\n  a=1", &[("a", "1")]),
        ("\\\n\n# no\na=1", &[("a", "1")]),
        ("\\\n# no\na=1", &[("a", "1")]),
        ("a=1\\", &[("a", "1")]),
        ("a=1\na=2", &[("a", "2")]),
        ("a=\\u00e4\\u20AC\\ud83d\\ude00", &[("a", "ä€😀")]),
        ("a=\\ud83dx", &[("a", "\u{fffd}x")]),
        ("a=\\u12\nb=\\u+123\nc=\\u12€4", &[("a", "u12"), ("b", "u+123"), ("c", "u12€4")]),
        ("a=ä€😀\u{a0}\u{85}", &[("a", "ä€😀\u{a0}\u{85}")]),
    ];
    for (text, wanted) in rows {
        let properties = parse(text);
        let found: Vec<_> = properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(&found, wanted, "{text:?}");
    }
}

#[test]
fn bytes_are_utf8_or_else_latin_1() {
    assert_eq!(decode("a=ä€".as_bytes()), "a=ä€");
    assert_eq!(decode(b"a=\xe4\xa7"), "a=ä§");
}

/// A way to write one character, which must make no difference to the parser.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// As `Properties.store` writes it.
    Store,
    /// Everything as `\u` escapes.
    Escapes,
    /// With a line break in between.
    Continued(&'static str),
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        4 => Just(Style::Store),
        1 => Just(Style::Escapes),
        1 => prop::sample::select(vec!["\\\n", "\\\r\n  ", "\\\r\t"]).prop_map(Style::Continued),
    ]
}

fn write(text: &str, styles: &[Style], out: &mut String) {
    for (position, c) in text.chars().enumerate() {
        let style = styles[position % styles.len()];
        if let Style::Continued(line_break) = style {
            out.push_str(line_break);
        }
        match c {
            _ if matches!(style, Style::Escapes) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04X}").unwrap();
                }
            }
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            ' ' | '=' | ':' | '#' | '!' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
}

proptest! {
    #[test]
    fn what_java_writes_is_read(
        pairs in prop::collection::btree_map("\\PC{0,8}|[ \t\r\n\x0c=:#!\\\\a]{0,8}", any::<String>(), 0..6),
        separator in prop::sample::select(vec!["=", ":", " ", " = ", "\t:\t", " \x0c="]),
        line_end in prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n # comment\\\n"]),
        styles in prop::collection::vec(style(), 1..5),
    ) {
        let mut text = String::new();
        for (key, value) in &pairs {
            write(key, &styles, &mut text);
            // After an empty key a blank is no separator: it is skipped as the line's indentation.
            text.push_str(if key.is_empty() { "=" } else { separator });
            write(value, &styles, &mut text);
            text.push_str(line_end);
        }
        prop_assert_eq!(parse(&text), pairs, "{}", text);
    }

    #[test]
    fn nothing_makes_it_panic(text in any::<String>(), syntax in "[ \t\r\n\x0c=:#!\\\\u0dDfa]{0,40}", bytes in any::<Vec<u8>>()) {
        parse(&text);
        parse(&syntax);
        parse(&decode(&bytes));
    }

    #[test]
    fn lines_do_not_depend_on_their_ends(lines in prop::collection::vec("[ a=:#!\\\\]{0,6}", 0..6)) {
        prop_assert_eq!(parse(&lines.join("\n")), parse(&lines.join("\r\n")));
        prop_assert_eq!(parse(&lines.join("\n")), parse(&lines.join("\r")));
    }
}
