/** The options of the JVM for small brokers that start quickly. */
export const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Djava.awt.headless=true']
/** The id with which the storage of a node is formatted. It may be any text of 22 characters. */
export const clusterId = 'MkU3OEVBNTcwNTJENDM2Qk'
