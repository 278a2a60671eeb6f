use std::collections::BTreeSet;

use super::*;

fn places(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(place, _)| place).collect()
}

fn is_japanese(text: &str) -> bool {
    text.chars().any(|c| ('\u{3040}'..='\u{30ff}').contains(&c) || ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// Both languages say the same with the same figures. Fewer are allowed where a sentence needs no subject.
fn same(about: &str, english: &str, japanese: &str) {
    assert_eq!(english.is_empty(), japanese.is_empty(), "{about}");
    let (wanted, found) = (places(english), places(japanese));
    assert!(found.is_subset(&wanted), "{about}: {found:?} beyond {wanted:?}");
    let names = BTreeSet::from(["culprit", "target"]);
    let missing: Vec<_> = wanted.difference(&found).filter(|place| !names.contains(*place)).collect();
    assert!(missing.is_empty(), "{about}: {missing:?} is missing in {japanese}");
    assert!(!is_japanese(english), "{about}: {english}");
}

#[test]
fn every_text_is_there_in_both_languages_and_fills_the_same_places() {
    for &text in Say::ALL {
        let (english, japanese) = (en::say(text), ja::say(text));
        assert!(!english.is_empty(), "{text:?}");
        same(&format!("{text:?}"), english, japanese);
        assert!(is_japanese(japanese), "{text:?}: {japanese}");
    }
    let reasons = Reason::ALL.iter().map(|&it| (it.code().to_owned(), en::untouched(it), ja::untouched(it)));
    let endings = Ending::ALL.iter().map(|&it| (format!("{it:?}"), en::ending(it), ja::ending(it)));
    for (about, english, japanese) in reasons.chain(endings) {
        for (english, japanese) in
            [(english.title, japanese.title), (english.story, japanese.story), (english.now, japanese.now)]
        {
            same(&about, english, japanese);
            assert!(japanese.is_empty() || is_japanese(japanese), "{about}: {japanese}");
        }
    }
}

#[test]
fn a_value_is_never_taken_for_a_place() {
    let values = Values::default().with("a", "{b}").with("b", "no");
    assert_eq!(values.fill("x {a} y {missing}z {"), "x {b} y z {");
}
