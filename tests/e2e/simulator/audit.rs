//! What a `PUT` lost, altered or added beyond what is ours: `spec.traffic` and one annotation.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::documents::STATE;

/// What a person's hold is kept in.
const HOLD: &str = "runback.dev/hold";

/// Runback's own tag, which comes and goes with its probes.
const PROBE_TAG: &str = "runback-probe";

pub fn violations(before: &Value, after: &Value, latest_created: &str) -> Vec<String> {
    let mut kept = not_ours(before);
    let mut given = not_ours(after);
    // Where the GET named no revision, naming the one that the template stands for is allowed.
    let name = &given["spec"]["template"]["metadata"]["name"].clone();
    if kept["spec"]["template"]["metadata"]["name"].is_null() && *name == json!(latest_created) {
        kept["spec"]["template"]["metadata"]["name"] = name.clone();
    }
    // A person holds a service, or lets go of it, by a write that changes nothing else.
    if before["spec"] == after["spec"] && state(before) == state(after) {
        for document in [&mut kept, &mut given] {
            remove(&mut document["metadata"]["annotations"], HOLD);
        }
    }
    let mut found = Vec::new();
    differences(&kept, &given, "", &mut found);
    found.extend(lost_tags(&before["spec"]["traffic"], &after["spec"]["traffic"]));
    found
}

/// A template apart from the name of its revision.
pub fn without_name(template: &Value) -> Value {
    let mut template = template.clone();
    remove(&mut template["metadata"], "name");
    template
}

fn state(document: &Value) -> &Value {
    &document["metadata"]["annotations"][STATE]
}

fn not_ours(document: &Value) -> Value {
    let mut document = document.clone();
    remove(&mut document, "status");
    remove(&mut document["spec"], "traffic");
    remove(&mut document["metadata"], "resourceVersion");
    remove(&mut document["metadata"], "generation");
    remove(&mut document["metadata"]["annotations"], STATE);
    document
}

fn remove(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}

/// Differences as JSON pointers.
fn differences(before: &Value, after: &Value, pointer: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let at = format!("{pointer}/{key}");
                match new.get(key) {
                    Some(other) => differences(value, other, &at, found),
                    None => found.push(format!("lost {at}")),
                }
            }
            let added = new.keys().filter(|key| !old.contains_key(*key));
            found.extend(added.map(|key| format!("added {pointer}/{key}")));
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (value, other)) in old.iter().zip(new).enumerate() {
                differences(value, other, &format!("{pointer}/{index}"), found);
            }
        }
        _ if before != after => found.push(format!("changed {pointer}")),
        _ => {}
    }
}

fn lost_tags(before: &Value, after: &Value) -> Vec<String> {
    let after = tags(after);
    let kept = tags(before).into_iter().filter(|(tag, _)| tag != PROBE_TAG);
    let lost = kept.filter(|(tag, target)| after.get(tag) != Some(target));
    lost.map(|(tag, target)| format!("lost the tag {tag} of {target}")).collect()
}

/// Tags and the revisions that they name, or `LATEST`.
pub fn tags(traffic: &Value) -> BTreeMap<String, String> {
    let targets = traffic.as_array().into_iter().flatten();
    let tagged =
        targets.filter_map(|target| Some((target["tag"].as_str()?, target["revisionName"].as_str())));
    tagged.map(|(tag, revision)| (tag.to_owned(), revision.unwrap_or("LATEST").to_owned())).collect()
}
