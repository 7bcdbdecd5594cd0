//! What a basket costs: the functions of `wit/world.wit`.

use crate::bindings::Guest as Root;
use crate::bindings::exports::example::prices::baskets::{Country, Discount, Guest, Item, Line, Problem, Receipt};

mod bindings {
    wit_bindgen::generate!({ path: "wit" });
}

struct Prices;

bindings::export!(Prices with_types_in bindings);

impl Guest for Prices {
    fn total(items: Vec<Item>, country: Country, discount: Option<Discount>) -> Result<Receipt, Problem> {
        if items.is_empty() {
            return Err(Problem::EmptyBasket);
        }
        let mut sum = 0u64;
        let mut lines = Vec::with_capacity(items.len());
        for item in &items {
            let quantity = item.quantity.unwrap_or(1);
            let cents = item.price.checked_mul(quantity.into());
            // Leaves room for the tax.
            let added = cents.and_then(|cents| sum.checked_add(cents)).filter(|sum| *sum <= u64::MAX / 200);
            let (Some(cents), Some(added)) = (cents, added) else {
                return Err(Problem::TooExpensive(item.name.clone()));
            };
            sum = added;
            lines.push(Line { text: format!("{quantity} × {}", item.name), cents });
        }
        let discount = off(&items, sum, discount)?.min(sum);
        let tax = percent(sum - discount, Self::tax(country));
        Ok(Receipt { lines, discount, tax, total: sum - discount + tax })
    }

    fn tax(country: Country) -> u8 {
        match country {
            Country::Austria | Country::France => 20,
            Country::Germany => 19,
            Country::Ireland => 23,
        }
    }
}

impl Root for Prices {
    fn split(cents: u64, parts: u8) -> Vec<u64> {
        let parts = u64::from(parts);
        (0..parts).map(|part| cents / parts + u64::from(part < cents % parts)).collect()
    }
}

/// The cents that a discount takes off.
fn off(items: &[Item], sum: u64, discount: Option<Discount>) -> Result<u64, Problem> {
    match discount {
        None => Ok(0),
        Some(Discount::Amount(cents)) => Ok(cents),
        Some(Discount::Percent(rate @ 101..)) => Err(Problem::BadPercentage(rate)),
        Some(Discount::Percent(rate)) => Ok(percent(sum, rate)),
        Some(Discount::CheapestFree) => {
            let pieces = items.iter().filter(|item| item.quantity != Some(0));
            Ok(pieces.map(|item| item.price).min().unwrap_or(0))
        }
    }
}

/// So many per cent of an amount, rounded to the nearest cent.
fn percent(cents: u64, rate: u8) -> u64 {
    (cents * u64::from(rate) + 50) / 100
}
