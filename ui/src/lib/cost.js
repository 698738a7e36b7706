/**
 * What runs cost on AWS: prices of us-east-1 in dollars, for workers of 512 MB (the template's default). An attempt is a claim, its own item
 * and a finish, and a message sent, received and deleted.
 */
const MEMORY_GB = 0.5;
const GB_SECOND = 0.0000133334;
const INVOCATION = 0.2e-6;
const WRITE = 0.625e-6;
const MESSAGE = 0.4e-6;

export const cost = (attempts, seconds) => seconds * MEMORY_GB * GB_SECOND + attempts * (INVOCATION + 3 * WRITE + 3 * MESSAGE);

export function dollars(amount) {
  if (!amount) return '$0';
  if (amount >= 0.01) return `$${amount.toFixed(2)}`;
  return `$${amount.toFixed(Math.min(9, 1 - Math.floor(Math.log10(amount))))}`;
}
