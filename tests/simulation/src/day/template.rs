//! What a CloudFormation template says of a group and its scaling: as much of its language as the shipped templates use
//! there (`Ref`, `Fn::Equals`, `Fn::Not`).

use std::collections::BTreeMap;
use std::path::Path;

use saphyr_parser::{Event, Parser};

/// A template with the values of its parameters.
pub(crate) struct Template {
    file: String,
    root: Node,
    parameters: BTreeMap<String, String>,
}

/// A value in a template, with its short form of a function (`!Ref`), if it has one.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    function: Option<String>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
}

/// A place in a template.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    template: &'a Template,
    node: &'a Node,
}

/// Reads the next value, whose first event is this one.
fn value<'a>(first: Event<'a>, next: &mut impl FnMut() -> Result<Event<'a>, String>) -> Result<Node, String> {
    let short = |tag: Option<String>| tag.filter(|tag| !tag.is_empty());
    Ok(match first {
        Event::Scalar(text, _, _, tag) => {
            Node { function: short(tag.map(|tag| tag.suffix.clone())), value: Value::Text(text.into_owned()) }
        }
        Event::SequenceStart(_, tag) => {
            let mut items = Vec::new();
            loop {
                match next()? {
                    Event::SequenceEnd => break,
                    event => items.push(value(event, next)?),
                }
            }
            Node { function: short(tag.map(|tag| tag.suffix.clone())), value: Value::List(items) }
        }
        Event::MappingStart(..) => {
            let mut fields = Vec::new();
            loop {
                match next()? {
                    Event::MappingEnd => break,
                    Event::Scalar(key, ..) => {
                        let event = next()?;
                        fields.push((key.into_owned(), value(event, next)?));
                    }
                    other => return Err(format!("a key is no text: {other:?}")),
                }
            }
            Node { function: None, value: Value::Fields(fields) }
        }
        other => return Err(format!("not understood: {other:?}")),
    })
}

impl Template {
    /// Reads a template; these values go before the defaults of its parameters.
    pub(crate) fn read(path: &Path, given: &BTreeMap<String, String>) -> Result<Self, String> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
        Self::parse(&file, &text, given)
    }

    fn parse(file: &str, text: &str, given: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut parser = Parser::new_from_str(text);
        let mut next = || match parser.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it ends too early".to_owned()),
        };
        let root = loop {
            match next().map_err(|why| format!("{file}: {why}"))? {
                Event::StreamStart | Event::DocumentStart(_) => {}
                event => break value(event, &mut next).map_err(|why| format!("{file}: {why}"))?,
            }
        };
        let mut template = Self { file: file.to_owned(), root, parameters: BTreeMap::new() };
        let declared = template.root().get("Parameters");
        let declared: Vec<(String, Option<String>)> = declared
            .map(|all| all.fields().map(|(name, of)| (name.to_owned(), of.string("Default").ok())).collect())
            .unwrap_or_default();
        if let Some(name) = given.keys().find(|name| !declared.iter().any(|(known, _)| known == *name)) {
            return Err(format!("{file} has no parameter {name}"));
        }
        for (name, default) in declared {
            let value = given.get(&name).cloned().or(default);
            template.parameters.extend(value.map(|value| (name, value)));
        }
        Ok(template)
    }

    /// Tells whether it has this parameter.
    pub(crate) fn has(&self, parameter: &str) -> bool {
        self.root().get("Parameters").and_then(|all| all.get(parameter)).is_some()
    }

    /// Returns the whole of it.
    pub(crate) fn root(&self) -> At<'_> {
        At { template: self, node: &self.root }
    }

    /// Returns the properties of all resources of a type whose condition holds.
    pub(crate) fn resources(&self, kind: &str) -> Result<Vec<At<'_>>, String> {
        let mut found = Vec::new();
        for (_, resource) in self.root().need("Resources")?.fields() {
            if resource.string("Type")? != kind {
                continue;
            }
            let holds = match resource.get("Condition") {
                Some(name) => self.root().need("Conditions")?.need(&name.text()?)?.holds()?,
                None => true,
            };
            if holds {
                found.push(resource.need("Properties")?);
            }
        }
        Ok(found)
    }
}

impl<'a> At<'a> {
    fn to(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    /// Returns a field, if it is there.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        self.fields().find(|(name, _)| *name == key).map(|(_, at)| at)
    }

    /// Returns a field that has to be there.
    pub(crate) fn need(self, key: &str) -> Result<Self, String> {
        self.get(key)
            .ok_or_else(|| format!("{}: there is no {key} where one is expected", self.template.file))
    }

    /// Returns all fields.
    pub(crate) fn fields(self) -> impl Iterator<Item = (&'a str, Self)> {
        let fields: &'a [(String, Node)] = match &self.node.value {
            Value::Fields(fields) => fields,
            Value::Text(_) | Value::List(_) => &[],
        };
        fields.iter().map(move |(name, node)| (name.as_str(), self.to(node)))
    }

    /// Returns the items of a list.
    pub(crate) fn items(self) -> impl Iterator<Item = Self> {
        let items: &'a [Node] = match &self.node.value {
            Value::List(items) => items,
            Value::Text(_) | Value::Fields(_) => &[],
        };
        items.iter().map(move |node| self.to(node))
    }

    /// Returns the text, of the parameter if it is a reference to one.
    pub(crate) fn text(self) -> Result<String, String> {
        let file = &self.template.file;
        match (&self.node.value, self.node.function.as_deref()) {
            (Value::Text(text), None) => Ok(text.clone()),
            (Value::Text(name), Some("Ref")) => {
                let value = self.template.parameters.get(name);
                value.cloned().ok_or_else(|| format!("{file}: the parameter {name} has no value"))
            }
            (_, function) => Err(format!("{file}: {function:?} is not understood here")),
        }
    }

    /// Returns the text of a field.
    pub(crate) fn string(self, key: &str) -> Result<String, String> {
        self.need(key)?.text()
    }

    /// Returns the number in a field.
    pub(crate) fn number<N: std::str::FromStr>(self, key: &str) -> Result<N, String> {
        let text = self.string(key)?;
        text.parse().map_err(|_| format!("{}: {key} is no number that fits: {text}", self.template.file))
    }

    /// Tells whether a field is there and true.
    pub(crate) fn is_true(self, key: &str) -> bool {
        self.string(key).is_ok_and(|text| text == "true")
    }

    /// Tells whether a condition holds.
    fn holds(self) -> Result<bool, String> {
        let items: Vec<Self> = self.items().collect();
        match (self.node.function.as_deref(), items.as_slice()) {
            (Some("Equals"), [one, other]) => Ok(one.text()? == other.text()?),
            (Some("Not"), [condition]) => Ok(!condition.holds()?),
            (function, _) => Err(format!("{}: {function:?} is no condition", self.template.file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Parameters:
  Target: {Type: Number, Default: 75}
  Least: {Type: Number, Default: 0}
Conditions:
  HasLeast: !Not [!Equals [!Ref Least, \"0\"]]
Resources:
  One: {Type: A, Properties: {Value: !Ref Target, List: [a, b]}}
  Two: {Type: A, Condition: HasLeast, Properties: {Value: !Ref Least}}
";

    fn values(given: &[(&str, &str)]) -> Result<Vec<u32>, String> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let template = Template::parse("test.yaml", TEXT, &given)?;
        template.resources("A")?.into_iter().map(|at| at.number("Value")).collect()
    }

    #[test]
    fn parameters_and_conditions_count() {
        assert_eq!(values(&[]), Ok(vec![75]));
        assert_eq!(values(&[("Target", "50"), ("Least", "4")]), Ok(vec![50, 4]));
        assert_eq!(values(&[("Tarket", "50")]), Err("test.yaml has no parameter Tarket".to_owned()));
        let wrong = values(&[("Target", "many")]);
        assert_eq!(wrong, Err("test.yaml: Value is no number that fits: many".to_owned()));
    }
}
