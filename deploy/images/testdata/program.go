// Program stands for the programs in the images.
package main

func main() {}
