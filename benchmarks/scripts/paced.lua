-- The same request again and again, each some 2 ms after the last response, so that
-- neither core is full, and a server that is fast is not asked more.
math.randomseed(SEED)

function delay() return math.random(1, 3) end
