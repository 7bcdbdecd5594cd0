//! Types of schemas.

use serde_json::json;

use super::*;

fn types(schemas: &[(Value, Side)]) -> (Vec<Type>, Vec<Named>) {
    let mut definitions = Definitions::in_schema();
    let adopted: Vec<Value> = schemas.iter().map(|(schema, _)| definitions.adopt(schema)).collect();
    let mut types = Types::new(definitions, Names::new(&[]));
    let sides = schemas.iter().map(|(_, side)| *side);
    let kinds = adopted.iter().zip(sides).map(|(schema, side)| types.of(schema, side, "a place".to_owned()));
    (kinds.collect(), types.into_named())
}

#[test]
fn an_object_is_one_type_wherever_it_stands() {
    let tree = json!({"type": "object", "title": "Tree", "properties": {"below": {"$ref": "#/$defs/Tree"}}});
    let mut whole = tree.clone();
    whole["$defs"] = json!({"Tree": tree});
    let reference = json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}});
    let (kinds, named) = types(&[(whole, Side::Argument), (reference, Side::Result)]);
    assert_eq!(kinds, [Type::Named("Tree".to_owned()), Type::Named("Tree".to_owned())]);
    assert_eq!(named.len(), 1);
}

#[test]
fn arguments_have_types_of_their_own_only_where_they_differ() {
    let event =
        json!({"type": "object", "title": "Event", "properties": {"day": {"type": "string", "format": "date"}}});
    let (kinds, named) = types(&[(event.clone(), Side::Result), (event, Side::Argument)]);
    assert_eq!(kinds, [Type::Named("Event".to_owned()), Type::Named("EventArgument".to_owned())]);
    let days: Vec<&Type> = named.iter().filter_map(|one| first_field(&one.shape)).collect();
    assert_eq!(days, [&Type::Text, &Type::Date]);
}

fn first_field(shape: &Shape) -> Option<&Type> {
    let Shape::Object { fields, .. } = shape else { return None };
    fields.first().map(|field| &field.kind)
}

#[test]
fn a_name_that_means_only_itself_means_anything() {
    let circle = json!({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]},
        "B": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "string"}]}}});
    let (_, named) = types(&[(circle, Side::Result)]);
    let is_any = |one: &&Named| matches!(one.shape, Shape::Alias(Type::Any));
    assert_eq!(named.iter().filter(is_any).count(), 1, "{named:?}");
    let list = json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}});
    let (_, named) = types(&[(list, Side::Result)]);
    assert_eq!(named.iter().filter(is_any).count(), 0);
}
