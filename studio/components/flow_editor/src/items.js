/* Searching a list of things by name: what starts with the words comes before what contains them. */

const textOf = (keywords) => (Array.isArray(keywords) ? keywords.join(" ") : (keywords ?? ""));

export function entryItems(entries) {
  return entries.map((entry) => ({
    key: entry.type, label: entry.label, hint: entry.category, icon: entry.icon, kind: entry.kind,
    search: [entry.label, entry.category, textOf(entry.keywords), entry.description ?? ""].join(" "), entry,
  }));
}

function rank(item, query) {
  const label = item.label.toLowerCase();
  if (label.startsWith(query)) return 0;
  if (label.includes(` ${query}`)) return 1;
  if (label.includes(query)) return 2;
  return query.split(/\s+/).every((word) => item.search.toLowerCase().includes(word)) ? 3 : 4;
}

export function search(items, text) {
  const query = text.trim().toLowerCase();
  if (!query) return items;
  const ranked = items.map((item) => ({ item, score: rank(item, query) })).filter(({ score }) => score < 4);
  return ranked.sort((a, b) => a.score - b.score).map(({ item }) => item);
}
