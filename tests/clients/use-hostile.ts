// Calls functions whose names are no identifiers. Importing the module has run no code of theirs.

import { createClient } from "./hostile.js";

const hostile = createClient({ url: process.argv[2] ?? "" });
const found = [
  await hostile.a_b("first"),
  await hostile.a_b_2("first"),
  await hostile.class("first"),
  await hostile.x_y("first"),
  await hostile._1st("first"),
  await hostile.only0(),
];
const expected = ["a_b", "a-b", "class", "x_y", "1st", "only0"];
if (JSON.stringify([...found].sort()) !== JSON.stringify([...expected].sort())) {
  throw new Error(JSON.stringify(found));
}
console.log("all is well");
