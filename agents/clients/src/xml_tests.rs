use super::*;

/// Returns all elements with a text as `path=text`, and the defect.
fn leaves(text: &str) -> (Vec<String>, Option<Defect>) {
    let mut elements = Elements::new(text);
    let mut leaves = Vec::new();
    while let Some(step) = elements.step() {
        assert!(elements.path().len() <= MAX_DEPTH);
        if let Step::End { name, text: Some(text) } = step {
            let path: String = elements.path().iter().map(|name| format!("{name}/")).collect();
            leaves.push(format!("{path}{name}={text}"));
        }
    }
    (leaves, elements.defect())
}

#[test]
fn what_can_be_read_counts_and_the_defect_is_told() {
    use Defect::{CutOff, Empty, NoXml, Unreadable};
    let deep = "<a>".repeat(MAX_DEPTH + 1);
    let long = format!("<r><a>{}</a><b>1</b></r>", "x".repeat(MAX_TEXT + 1));
    let rows: &[(&str, &[&str], Option<Defect>)] = &[
        ("<r/>", &[], None),
        ("\u{feff}\n<?xml version='1.0'?><!-- c --><r> <a> 1 </a>\n</r>\n", &["r/a=1"], None),
        ("<r><a x='>'>1</a></r>", &["r/a=1"], None),
        ("<r><a>&lt;b&gt; &#65;&#x42;&amp;&nbsp;&#0; & c</a></r>", &["r/a=<b> AB&&nbsp;&#0; & c"], None),
        ("<r><a><![CDATA[<b> & ]]>c</a></r>", &["r/a=<b> & c"], None),
        ("<r><a>x\u{8}\u{0}y\u{fffd}z</a></r>", &["r/a=x\u{8}\u{0}y\u{fffd}z"], None),
        // Names that are none.
        (
            "<r><1st>1</1st><lms:course>2</lms:course><>3</><a>4</a></r>",
            &["r/1st=1", "r/lms:course=2", "r/=3", "r/a=4"],
            None,
        ),
        ("<r><c><a b>1</a b></c><c><a/>2</a/></c><d>3</d></r>", &["r/d=3"], None),
        ("<r><c></d>1</d></c><e>2</e></r>", &["r/c=1", "r/e=2"], None),
        ("<r><?x>1</?x><!y>2</!y><a>3</a></r>", &["r/a=3"], None),
        ("<r><a>1<b/>2</a><c>3</c></r>", &["r/c=3"], None),
        (&long, &["r/b=1"], None),
        // Cut off.
        ("<r><a>1</a><b>2", &["r/a=1"], Some(CutOff(15))),
        ("<r><a>1</a><b", &["r/a=1"], Some(CutOff(13))),
        ("<r><a>1</a><b x='", &["r/a=1"], Some(CutOff(17))),
        ("<r><a>1</a><![CDATA[<b>2</b>", &["r/a=1"], Some(CutOff(28))),
        ("<r><a>1</a><!", &["r/a=1"], Some(CutOff(13))),
        ("<?xml ver", &[], Some(CutOff(9))),
        ("<", &[], Some(CutOff(1))),
        // No answer.
        ("", &[], Some(Empty)),
        (" \n", &[], Some(Empty)),
        ("{\"a\":1}", &[], Some(NoXml)),
        ("text <r/>", &[], Some(NoXml)),
        ("<!-- c -->", &[], Some(NoXml)),
        ("<r><a>1</a></r><a>2</a>", &["r/a=1"], Some(Unreadable(18))),
        ("<r><a>1</a></r><a", &["r/a=1"], Some(Unreadable(15))),
        (&deep, &[], Some(Unreadable(deep.len()))),
        ("<!DOCTYPE r [<!ENTITY e \"marked\">]><r><a>&e;</a></r>", &["r/a=&e;"], None),
    ];
    for (text, found, defect) in rows {
        let wanted = found.iter().map(|leaf| (*leaf).to_owned()).collect();
        assert_eq!(leaves(text), (wanted, *defect), "{text:.200}");
    }
}

#[test]
fn reading_goes_on_behind_markup_that_is_none_only_so_often() {
    let text = |count: u32| format!("<r>{}<a>1</a></r>", "<?x>".repeat(count as usize));
    assert_eq!(leaves(&text(MAX_SKIPS)), (vec!["r/a=1".to_owned()], None));
    assert_eq!(leaves(&text(MAX_SKIPS + 1)).1, Some(Defect::Unreadable(3 + 4 * MAX_SKIPS as usize)));
}

#[test]
fn a_tag_with_too_many_attributes_is_found() {
    let tag = |bytes: usize| format!("<r><!-- <a>' --><a {}></a></r>", "b".repeat(bytes));
    assert!(!has_long_tag(&tag(MAX_TAG - 2)));
    assert!(has_long_tag(&tag(MAX_TAG - 1)));
    let endless = |bytes: usize| format!("<r><a>{}", "b='' ".repeat(bytes / 5).replacen("b", "<b ", 1));
    assert!(!has_long_tag(&endless(MAX_TAG / 2)));
    assert!(has_long_tag(&endless(MAX_TAG * 2)));
    assert!(!has_long_tag(&format!("<r>{}</r>", "<a b='c'/>".repeat(MAX_TAG))));
}
