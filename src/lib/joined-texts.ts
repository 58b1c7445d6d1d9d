/*
 * This module joins texts, so that they go to Postgres as one parameter. Joined texts cost about half of an array of texts (measured). The separators
 * are control characters that no text contains: the adapters refuse them in stream names and in delivery facts, ids and times are checked when they
 * are received, and JSON escapes control characters. Functions of the migrations split by the same characters.
 */

export const textSeparator = '\u001e'
/** The text that stands for null among joined texts. */
export const nullText = '\u001d'

/**
 * Joins texts to one parameter. A single empty text would split into no element, so it becomes two empty texts. The `unnest` then has a second row,
 * whose other columns are null.
 */
export const joinTexts = (texts: readonly string[]): string => texts.join(textSeparator) || textSeparator

/** Returns the SQL that splits a parameter of joined texts into an array. */
export const splitTexts = (parameter: number): string => `string_to_array($${parameter}, e'\\x1e')`

/** Returns whether a text cannot be joined, because it contains a separator. */
export const hasTextSeparator = (text: string): boolean => text.includes(textSeparator) || text.includes(nullText)
